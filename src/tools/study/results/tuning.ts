/**
 * Learning-rate sweeps. The state of a sweep is a function of the existing records: which trials it needs and,
 * once they are done, which rate is best. So a study that was stopped in a sweep continues it, and a study
 * whose sweep was changed runs only the missing trials.
 *
 * If the lowest loss is at an edge of the sweep, a lower loss may lie beyond it. The sweep is then extended by one
 * more factor on that side, at most twice. Every trial of an arm has the same budget.
 *
 * A smaller gain than the margin is noise, or an advantage of short runs only: the arm then keeps its own rate.
 *
 * Short trainings favour high rates, so whole runs at both rates must confirm a rate that is not the arm's own. Their
 * seeds are not in the study: a rate that was chosen on the seeds that are compared would favour the arm.
 */
import type { RunConfig } from '../../../core/config/run-config.ts'
import type { CapacityRule } from '../../../core/model/routing/contract.ts'
import type { Cell, Tuning } from '../contract.ts'
import { cellOf, chainOf, trialOf, withRate } from '../grid/cells.ts'
import type { Grid, Sweep } from '../grid/grid.ts'
import { fairRule, heldOutLoss } from '../held-out.ts'
import { mean } from '../statistics.ts'
import type { Ledger } from './ledger.ts'

export const MAX_EXTENSIONS = 2

interface Trial {
  readonly multiple: number
  readonly learningRate: number
  readonly cells: readonly Cell[]
  /** Mean loss over the seeds; null if a run failed, undefined if a run is still to be done. */
  readonly loss: number | null | undefined
}

export interface SweepState {
  /** Cells of all trials so far, by rising rate. */
  readonly cells: readonly Cell[]
  /** Whole runs at the arm's own rate and at the best rate; empty if these are equal, or the best rate is unknown. */
  readonly confirming: readonly Cell[]
  /** The result of the sweep; null until all trials are done, or if all failed. */
  readonly tuning: Tuning | null
  /** The side on which the best rate is the last rate that was tried; null if it lies between others. */
  readonly edge: 'lowest' | 'highest' | null
  /** Whether every trial failed. */
  readonly hasFailed: boolean
}

/** @param ofStudy Capacity rule of the study. Its held-out losses decide, unless the arm is never compared at it. */
export function sweepStateOf(sweep: Sweep, ledger: Ledger, ofStudy: CapacityRule): SweepState {
  const rule = fairRule([sweep.config], ofStudy)
  let trials = sweep.rates.map((multiple) => trialAt(sweep, multiple, ledger, rule))
  for (let extensions = 0; ; extensions++) {
    const isDone = trials.every(({ loss }) => loss !== undefined)
    const lowest = isDone ? lowestOf(trials) : undefined
    const edge = edgeOf(trials, lowest)
    if (edge === null || extensions === MAX_EXTENSIONS) {
      const best = lowest && bestOf(trials, lowest, sweep.margin)
      const proposed = best === undefined || best.multiple === 1 ? null : confirmationOf(sweep, best, ledger, rule)
      return {
        cells: trials.flatMap(({ cells }) => cells),
        confirming: proposed?.cells ?? [],
        tuning: best === undefined ? null : tuningOf(sweep, trials, best, proposed),
        edge: edgeOf(trials, best),
        hasFailed: isDone && best === undefined,
      }
    }
    const next = trialAt(sweep, nextMultiple(trials, edge), ledger, rule)
    trials = edge === 'lowest' ? [next, ...trials] : [...trials, next]
  }
}

/** Runs at best rates that differ from the common rate and are confirmed, with every seed and branch. */
export function bestCells(
  { sweeps, seeds, branches, capacity }: Pick<Grid, 'sweeps' | 'seeds' | 'branches' | 'capacity'>,
  ledger: Ledger,
): Cell[] {
  return sweeps.flatMap((sweep) => {
    const { arm, config } = sweep
    const { tuning } = sweepStateOf(sweep, ledger, capacity)
    if (!tuning?.confirmed) return []
    return seeds.flatMap((seed) => chainOf(arm, seed, 'best', withRate(config, tuning.best), branches))
  })
}

function trialAt(sweep: Sweep, multiple: number, ledger: Ledger, rule: CapacityRule): Trial {
  const { arm, config, seeds, steps } = sweep
  const own = config.train.schedule.learningRate
  // 0.003 · 0.1 is 0.00030000000000000003 in floating point: round to the rate that a person would write.
  const learningRate = multiple === 1 ? own : Number((own * multiple).toPrecision(12))
  const cells = seeds.map((seed) => trialOf(arm, seed, withRate(config, learningRate), steps))
  return { multiple, learningRate, cells, loss: meanLoss(cells, ledger, rule) }
}

/** The mean held-out loss; null if a run failed, undefined if a run is still to be done. */
function meanLoss(cells: readonly Cell[], ledger: Ledger, rule: CapacityRule): number | null | undefined {
  const records = cells.map(({ key, config }) => ledger.find(key, config))
  if (records.includes(undefined)) return undefined
  const losses = records.map((record) => heldOutLoss(record, rule)).filter((loss) => loss !== null)
  return losses.length < cells.length ? null : mean(losses)
}

interface Confirmation {
  readonly cells: readonly Cell[]
  /** Whether the best rate is confirmed; null until all runs are done. */
  readonly confirmed: boolean | null
}

/** Whole runs at the arm's own rate and at the rate that its trials prefer. A failed run is worse than any other. */
function confirmationOf(
  { arm, config, confirm }: Sweep,
  best: Trial,
  ledger: Ledger,
  rule: CapacityRule,
): Confirmation {
  const at = (own: RunConfig) => confirm.map((seed) => cellOf(arm, seed, 'confirm', own))
  const sides = [at(config), at(withRate(config, best.learningRate))]
  const [own, other] = sides.map((cells) => meanLoss(cells, ledger, rule))
  const isDone = own !== undefined && other !== undefined
  return {
    cells: sides.flat(),
    confirmed: isDone ? other !== null && (own === null || other < own) : null,
  }
}

/** The trial with the lowest loss; of equal losses, the nearest to the arm's own rate. Undefined if all failed. */
function lowestOf(trials: readonly Trial[]): Trial | undefined {
  const distance = ({ multiple }: Trial) => Math.abs(Math.log(multiple))
  return trials
    .filter(({ loss }) => typeof loss === 'number')
    .toSorted((a, b) => (a.loss ?? 0) - (b.loss ?? 0) || distance(a) - distance(b))[0]
}

/** The trial at the arm's own rate, unless it failed or the lowest loss is lower by more than the margin. */
function bestOf(trials: readonly Trial[], lowest: Trial, margin: number): Trial {
  const own = trials.find(({ multiple }) => multiple === 1)
  const gain = (own?.loss ?? Number.POSITIVE_INFINITY) - (lowest.loss ?? 0)
  return own === undefined || gain > margin ? lowest : own
}

const edgeOf = (trials: readonly Trial[], trial: Trial | undefined): SweepState['edge'] =>
  trial === undefined ? null : trial === trials[0] ? 'lowest' : trial === trials.at(-1) ? 'highest' : null

/** The multiple beyond an edge, by the same factor as between the last two multiples. */
function nextMultiple(trials: readonly Trial[], edge: 'lowest' | 'highest'): number {
  const [last, before] = (edge === 'lowest' ? trials : trials.toReversed()).map(({ multiple }) => multiple)
  if (last === undefined || before === undefined) throw new Error('internal: a sweep has at least two rates')
  return (last * last) / before
}

const tuningOf = (
  { arm, steps }: Sweep,
  trials: readonly Trial[],
  best: Trial,
  proposed: Confirmation | null,
): Tuning => ({
  arm,
  budgetSteps: steps,
  trials: trials.map(({ learningRate, loss }) => ({ learningRate, loss: loss ?? null })),
  best: best.learningRate,
  ...(proposed && { confirmed: proposed.confirmed }),
})

/** Trials that the sweeps are known to need. */
export const trialsOf = ({ sweeps, capacity }: Grid, ledger: Ledger): Cell[] =>
  sweeps.flatMap((sweep) => [...sweepStateOf(sweep, ledger, capacity).cells])

/** Whole runs that confirm best rates, as far as these rates are known. */
export const confirmingOf = ({ sweeps, capacity }: Grid, ledger: Ledger): Cell[] =>
  sweeps.flatMap((sweep) => [...sweepStateOf(sweep, ledger, capacity).confirming])
