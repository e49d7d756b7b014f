/** Makes cells of configurations: sets the seed, the intervals of saving, and the shorter budget of a trial. */
import type { RunConfig } from '../../../core/config/run-config.ts'
import { decayStart } from '../../../train/step/schedule.ts'
import type { Cell, Rate } from '../contract.ts'
import { keyOf } from '../results/keys.ts'

/** Checkpoints of a run, so that little is lost when a study is stopped. */
const CHECKPOINTS = 4

/** Steps of a run at which routing is recorded. */
const ROUTING_LINES = 80

/** A run of the study. @param config Of the arm, at the learning rate that `rate` names. */
export function cellOf(arm: string, seed: number, rate: Rate | 'confirm', config: RunConfig): Cell {
  const seeded = withSeed(config, seed)
  return { arm, seed, rate, config: seeded, key: keyOf(seeded) }
}

/**
 * A short run with its schedule in proportion: warm-up and decay take the same shares of the steps. It is
 * evaluated once, at the end. Its key differs from that of a run with the same configuration.
 */
export function trialOf(arm: string, seed: number, config: RunConfig, steps: number): Cell {
  const { train } = config
  const warmup = Math.round((train.schedule.warmup * steps) / train.steps)
  const short = { ...train, steps, evalEvery: steps, schedule: { ...train.schedule, warmup } }
  const seeded = withSeed({ ...config, train: short }, seed)
  return { arm, seed, rate: 'trial', config: seeded, key: `${keyOf(seeded)}-trial` }
}

/**
 * A rung of a search: the first `steps` of a run, which continues where it stopped after `from` steps. The last rung is
 * the whole run, with its key.
 */
export function rungCell(arm: string, seed: number, config: RunConfig, steps: number, from: number): Cell {
  const cell = cellOf(arm, seed, 'common', config)
  const key = steps === config.train.steps ? cell.key : `${cell.key}-rung-${steps}`
  return { ...cell, key, budget: { steps, from } }
}

/** Steps that a cell trains for; fewer than those of its schedule if it is a rung of a search. */
export const stepsOf = ({ budget, config }: Cell): number => budget?.steps ?? config.train.steps

/**
 * Steps that a cell has behind it when it starts, if all goes well: a rung or a branch continues another cell, unless its
 * checkpoint was lost.
 */
export const firstStepOf = ({ budget, branch }: Cell): number =>
  budget?.from ?? (branch?.after ? (decayStart(branch.after.config.train) ?? 0) : 0)

/** Whether a cell is no shorter branch of its arm: answers are those of whole runs. */
export const isWhole = ({ branch }: Cell): boolean => (branch?.share ?? 1) === 1

/** Whether only the held-out loss of a cell is used: a trial, or a rung of a search that is no whole run. */
export const isShort = (cell: Cell): boolean => cell.rate === 'trial' || stepsOf(cell) < cell.config.train.steps

/** An arm's configuration at another learning rate. */
export const withRate = (config: RunConfig, learningRate: number): RunConfig => ({
  ...config,
  train: { ...config.train, schedule: { ...config.train.schedule, learningRate } },
})

/** A configuration with other steps and everything else the same, the steps of warm-up too. */
export const withSteps = (config: RunConfig, steps: number): RunConfig => ({
  ...config,
  train: { ...config.train, steps },
})

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
