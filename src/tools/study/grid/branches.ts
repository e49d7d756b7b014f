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
import type { RunConfig } from '../../../core/config/run-config.ts'
import { balanceSchedule } from '../../../train/step/optimizer/schedule.ts'
import type { Cell, Rate } from '../contract.ts'
import { cellOf, withSteps } from './cells.ts'

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
