/**
 * Makes cells from configurations: sets the seed, the intervals of saving, and the shorter budget of a trial. Also the
 * size of a cell: its steps and its operations.
 */
import type { RunConfig } from '../../../core/config/run-config.ts'
import { describeModel } from '../../../core/model/describe.ts'
import { balanceSchedule, decayStart } from '../../../train/step/optimizer/schedule.ts'
import type { Cell, Rate } from '../contract.ts'
import { keyOf } from './keys.ts'

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
const withSteps = (config: RunConfig, steps: number): RunConfig => ({
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

/**
 * Branches: several lengths of training of each arm for little more than the price of the longest. With a `wsd` schedule
 * (warm-up, stable rate, decay) a run has the learning rates of every longer run until its own decay begins. The steps
 * up to there are the *trunk*; a run with fewer steps is a *branch* that leaves the trunk earlier.
 *
 *     steps      1/8     1/4        1/2                    1
 *     trunk   ────┬───────┬──────────┬──────────────────────┐
 *     decay       └╮      └─╮        └───╮                  └───────╮
 *
 * A branch is bit for bit the run of its configuration, and has the key of that run. The branches of an arm and a seed
 * are trained one after the other: each continues from the checkpoint that the next shorter one left at the start of
 * its decay. So a step of the trunk is computed once, and a shorter branch adds only its decay. Together they cost as
 * much as 1 + decay · (sum of the shorter shares) whole runs.
 */

/** Shares of a study without `branches`: an arm is trained to its last step only. */
export const wholeRuns: readonly number[] = [1]

/**
 * The runs of an arm with a seed, from the shortest branch to the whole run.
 * @param shares Shares of the steps of the arm, rising; the last one is 1.
 */
export function chainOf(
  arm: string,
  seed: number,
  rate: Rate,
  config: RunConfig,
  shares: readonly number[],
): readonly Cell[] {
  if (shares.length === 1) return [cellOf(arm, seed, rate, config)]
  const cells: Cell[] = []
  for (const share of shares) {
    const cell = cellOf(arm, seed, rate, withSteps(config, stepsAt(config, share)))
    const [first = cell] = cells
    // Records of routing are continued too, so they need one interval. The shortest branch has the shortest one.
    const { routingEvery } = first.config.train
    const train = { ...cell.config.train, routingEvery }
    cells.push({ ...cell, config: { ...cell.config, train }, branch: { share, after: cells.at(-1) ?? null } })
  }
  return cells
}

const stepsAt = ({ train }: RunConfig, share: number): number => Math.round(share * train.steps)

/** The reason why an arm cannot have these branches; null if it can. */
export function branchProblem(config: RunConfig, shares: readonly number[]): string | null {
  const { kind, warmup, decay } = config.train.schedule
  if (shares.length === 1) return null
  if (kind !== 'wsd')
    return (
      `invalid train.schedule.kind: "${kind}" (must be "wsd" with branches: with another schedule a shorter run is not ` +
      'the beginning of a longer one)'
    )
  if (balanceSchedule(config))
    return (
      `invalid train.schedule.finalBalance: ${config.train.schedule.finalBalance} (must be 1 with branches: otherwise the ` +
      'coefficient of the balancing loss at a step depends on the number of steps)'
    )
  let before = 0
  for (const share of shares) {
    const steps = stepsAt(config, share)
    const refused = `invalid branches: ${share} (of train.steps ${config.train.steps} it has ${steps}`
    if (steps === before) return `${refused}, ${before === 0 ? 'and needs one' : 'as many as the share before'})`
    const start = Math.round(steps * (1 - decay))
    const first = Math.max(1, warmup)
    if (start < first || start >= steps)
      return (
        `${refused}, of which the learning rate decays after step ${start}: expected a step from ${first}, the end of the ` +
        `warm-up, to ${steps - 1}; change the share, train.schedule.warmup or train.schedule.decay)`
      )
    before = steps
  }
  return null
}
