/**
 * Makes cells from configurations: sets the seed, the intervals of saving, and the shorter budget of a trial. Also the
 * size of a cell: its steps and its operations.
 */
import type { RunConfig } from '../../../core/config/run-config.ts'
import { describeModel } from '../../../core/model/describe.ts'
import { decayStart } from '../../../train/step/optimizer/schedule.ts'
import type { Cell, Rate } from '../contract.ts'
import { keyOf } from '../results/keys.ts'

/** Number of checkpoints of a run, so that little is lost when a study is stopped. */
const CHECKPOINTS = 4

/** Number of steps of a run at which routing is recorded. */
const ROUTING_LINES = 80

/** A run of the study. @param config Configuration of the arm, at the learning rate that `rate` names. */
export function cellOf(arm: string, seed: number, rate: Rate | 'confirm', config: RunConfig): Cell {
  const seeded = withSeed(config, seed)
  return { arm, seed, rate, config: seeded, key: keyOf(seeded) }
}

/**
 * A short run with its schedule in proportion: warm-up and decay take the same shares of the steps as in a whole
 * run. It is evaluated once, at the end. Its key differs from the key of a run with the same configuration.
 */
export function trialOf(arm: string, seed: number, config: RunConfig, steps: number): Cell {
  const { train } = config
  const warmup = Math.round((train.schedule.warmup * steps) / train.steps)
  const short = { ...train, steps, evalEvery: steps, schedule: { ...train.schedule, warmup } }
  const seeded = withSeed({ ...config, train: short }, seed)
  return { arm, seed, rate: 'trial', config: seeded, key: `${keyOf(seeded)}-trial` }
}

/**
 * One training of a rung of a search: the first `steps` steps of a run, which continues where it stopped after `from`
 * steps. In the last rung it is the whole run, with the key of that run.
 */
export function rungCell(arm: string, seed: number, config: RunConfig, steps: number, from: number): Cell {
  const cell = cellOf(arm, seed, 'common', config)
  const key = steps === config.train.steps ? cell.key : `${cell.key}-rung-${steps}`
  return { ...cell, key, budget: { steps, from } }
}

/** Step at which a cell ends. A rung of a search may end before the last step of its schedule. */
export const stepsOf = ({ budget, config }: Cell): number => budget?.steps ?? config.train.steps

/**
 * Number of steps that are done when a cell starts: a rung or a branch continues another cell. It does not count that
 * the checkpoint of that cell may be lost, so that the training starts at its first step.
 */
export const firstStepOf = ({ budget, branch }: Cell): number =>
  budget?.from ?? (branch?.after ? (decayStart(branch.after.config.train) ?? 0) : 0)

/** Whether a cell is a whole run, not a shorter branch of its arm: answers rest on whole runs. */
export const isWhole = ({ branch }: Cell): boolean => (branch?.share ?? 1) === 1

/** Whether a cell is a trial, or a rung of a search that is no whole run: only its held-out loss is used. */
export const isShort = (cell: Cell): boolean => cell.rate === 'trial' || stepsOf(cell) < cell.config.train.steps

/** An arm's configuration at another learning rate. */
export const withRate = (config: RunConfig, learningRate: number): RunConfig => ({
  ...config,
  train: { ...config.train, schedule: { ...config.train.schedule, learningRate } },
})

/** A configuration with another number of steps. Everything else stays as it is, including the steps of warm-up. */
export const withSteps = (config: RunConfig, steps: number): RunConfig => ({
  ...config,
  train: { ...config.train, steps },
})

/** The cells without repetitions: one for each key. */
export const distinctCells = (cells: readonly Cell[]): Cell[] => [
  ...new Map(cells.map((cell) => [cell.key, cell])).values(),
]

/** Model FLOPs of trainings, with nothing dropped. */
export const totalFlops = (cells: readonly Cell[]): number => cells.reduce((total, cell) => total + flopsOf(cell), 0)

/** Model FLOPs of the steps that a cell adds to the cell that it continues. */
export const flopsOf = (cell: Cell): number => {
  const { model, train } = cell.config
  const steps = stepsOf(cell) - firstStepOf(cell)
  return describeModel(model).flopsPerToken * steps * train.batch * model.sequence
}

function withSeed(given: RunConfig, seed: number): RunConfig {
  const { moe } = given.model
  return {
    ...given,
    // The tables of a hash router depend on the seed, as initial parameters do.
    ...(moe?.router === 'hash' && { model: { ...given.model, moe: { ...moe, hashSeed: seed } } }),
    data: { ...given.data, order: seed },
    train: {
      ...given.train,
      seed,
      keep: 1,
      checkpointEvery: Math.ceil(given.train.steps / CHECKPOINTS),
      routingEvery: Math.ceil(given.train.steps / ROUTING_LINES),
    },
  }
}
