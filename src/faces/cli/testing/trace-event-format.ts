/**
 * Checks the events that we write by the rules of the Trace Event Format and of Perfetto: the complete events of a row
 * are sorted by start, and two of them are nested or disjoint.
 */
export interface TraceEvent {
  readonly ph: string
  readonly name: string
  readonly cat?: string
  readonly pid: number
  readonly tid: number
  readonly ts?: number
  readonly dur?: number
  readonly args?: Readonly<Record<string, unknown>>
}

/** Microseconds by which rounding may move the end of an event. */
const TOLERANCE = 1

/** The violations of these rules in a parsed trace. */
export function traceProblems(trace: unknown): string[] {
  const { traceEvents, displayTimeUnit } = trace as { traceEvents?: TraceEvent[]; displayTimeUnit?: string }
  if (!Array.isArray(traceEvents)) return ['traceEvents is not an array']
  const problems: string[] = []
  if (displayTimeUnit !== 'ms' && displayTimeUnit !== 'ns') problems.push(`displayTimeUnit ${displayTimeUnit}`)
  const open = new Map<number, { begin: number; ends: number[] }>()
  for (const event of traceEvents) {
    const { ph, name, pid, tid, ts = Number.NaN, dur = Number.NaN } = event
    const wrong = (problem: string) => problems.push(`${problem}: ${JSON.stringify(event)}`)
    if (typeof name !== 'string' || !Number.isInteger(pid) || !Number.isInteger(tid)) wrong('no name, pid or tid')
    if (ph === 'M') {
      const value = event.args?.[name === 'thread_sort_index' ? 'sort_index' : 'name']
      if (!['process_name', 'thread_name', 'thread_sort_index'].includes(name) || value === undefined)
        wrong('unknown metadata')
    } else if (ph === 'X') {
      if (!(ts >= 0) || !(dur >= 0)) wrong('ts or dur is not a time')
      const row = open.get(tid) ?? { begin: 0, ends: [] }
      open.set(tid, row)
      if (ts < row.begin) wrong('out of order')
      row.begin = ts
      while (row.ends.length > 0 && (row.ends.at(-1) as number) <= ts + TOLERANCE) row.ends.pop()
      if (ts + dur > (row.ends.at(-1) ?? Number.POSITIVE_INFINITY) + TOLERANCE) wrong('overlaps')
      row.ends.push(ts + dur)
    } else wrong('unknown phase')
  }
  return problems
}
