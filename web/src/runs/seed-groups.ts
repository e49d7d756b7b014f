/**
 * Runs that differ only in their seeds as one row: an experiment (differences.ts) with the means of its runs. The spread
 * is the range from the smallest to the largest, as in bands over seeds.
 */
import type { RunState, RunSummary } from '../../../src/faces/watch/api.ts'

/** The smallest and the largest value over seeds. */
export type Spread = readonly [low: number, high: number]

export interface SeedGroup {
  /** At least two runs. */
  readonly runs: readonly RunSummary[]
  /** The runs that the means are over: the finished ones, or while there are none, those that have not failed. */
  readonly counted: readonly RunSummary[]
  /** Spreads over these runs by the id of a column; absent with fewer than two values. */
  readonly spreads: Readonly<Record<string, Spread | undefined>>
}

/** A row of the table: a run, or several runs with their means in place of the numbers of a run. */
export interface TableRow {
  readonly id: string
  readonly run: RunSummary
  readonly group: SeedGroup | null
}

const single = (run: RunSummary): TableRow => ({ id: run.id, run, group: null })

/**
 * One row for each experiment, in the order of first runs; an experiment with a single run keeps its row.
 * @param nameOf Name of a group, from the names of its runs
 */
export function groupedRows(
  runs: readonly RunSummary[],
  experimentOf: (run: RunSummary) => string | null,
  nameOf: (names: readonly string[]) => string,
): readonly TableRow[] {
  const groups = new Map<string, RunSummary[]>()
  for (const run of runs) {
    const key = experimentOf(run) ?? `run ${run.id}`
    const group = groups.get(key)
    if (group) group.push(run)
    else groups.set(key, [run])
  }
  return [...groups.values()].map((group) => {
    const [first, ...rest] = group as [RunSummary, ...RunSummary[]]
    return rest.length === 0 ? single(first) : rowOf(first, group, nameOf(group.map(({ name }) => name)))
  })
}

function rowOf(first: RunSummary, runs: readonly RunSummary[], name: string): TableRow {
  const finished = runs.filter(({ state }) => state === 'finished')
  const counted = finished.length > 0 ? finished : runs.filter(({ state }) => state !== 'failed')
  const valuesOf = (of: (run: RunSummary) => number | null) => counted.flatMap((run) => of(run) ?? [])
  const [loss, heldOut, speed] = [
    valuesOf((run) => run.loss),
    valuesOf((run) => run.heldOutLoss),
    valuesOf((run) => run.tokensPerSecond),
  ]
  const steps = runs.flatMap((run) => run.steps ?? [])
  return {
    id: `${first.id}-seeds`,
    run: {
      ...first,
      name,
      state: stateOf(runs.map(({ state }) => state)),
      step: runs.reduce((sum, { step }) => sum + step, 0),
      steps: steps.length === runs.length ? steps.reduce((sum, each) => sum + each, 0) : null,
      loss: meanOf(loss),
      heldOutLoss: meanOf(heldOut),
      tokensPerSecond: meanOf(speed),
    },
    group: {
      runs,
      counted,
      spreads: { loss: spreadOf(loss), held_out: spreadOf(heldOut), tokens_per_second: spreadOf(speed) },
    },
  }
}

/** The state that a user must know of first. */
function stateOf(states: readonly RunState[]): RunState {
  const order: readonly RunState[] = ['failed', 'unreadable', 'running', 'stopped', 'finished']
  return order.find((state) => states.includes(state)) ?? 'finished'
}

/** Rows with the runs of opened groups below them. */
export const withMembers = (
  rows: readonly TableRow[],
  isOpen: (row: TableRow) => boolean,
  sort: (runs: readonly RunSummary[]) => readonly RunSummary[],
): readonly TableRow[] =>
  rows.flatMap((row) => (row.group && isOpen(row) ? [row, ...sort(row.group.runs).map(single)] : [row]))

/** The states of the runs in words: `3 finished, 1 failed`. */
export function statesText(runs: readonly RunSummary[]): string {
  const counts = new Map<RunState, number>()
  for (const { state } of runs) counts.set(state, (counts.get(state) ?? 0) + 1)
  return [...counts].map(([state, count]) => `${count} ${state}`).join(', ')
}

const meanOf = (values: readonly number[]): number | null =>
  values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length

const spreadOf = (values: readonly number[]): Spread | undefined =>
  values.length < 2 ? undefined : [Math.min(...values), Math.max(...values)]
