/**
 * Writes the timeline of a step as a file for Perfetto (ui.perfetto.dev) or chrome://tracing, in Chrome's Trace Event
 * Format: complete events ("X") with times in microseconds, and metadata ("M") with the names of rows.
 */
import type { StepEvent } from '../../engine/contract/times.ts'
import { writeOutput } from '../../node/system/output-file.ts'

/**
 * @param title Name of the process in the trace.
 * @param rowName Name of the row of a thread.
 * @throws RunError if the file cannot be written.
 */
export const writeTrace = (
  file: string,
  title: string,
  events: readonly StepEvent[],
  rowName: (thread: number) => string = threadName,
): Promise<void> => writeOutput(file, traceJson(title, events, rowName))

/** Thread −1 is JavaScript. */
const threadName = (thread: number): string => (thread < 0 ? 'JavaScript' : `thread ${thread + 1}`)

const PID = 1

/**
 * Text of the file. Times count from the start of the first event. Events of a row are sorted by start, outer first.
 */
export function traceJson(title: string, events: readonly StepEvent[], rowName = threadName): string {
  const start = events.reduce((first, { begin }) => Math.min(first, begin), Number.POSITIVE_INFINITY)
  const threads = [...new Set(events.map(({ thread }) => thread))].sort((a, b) => a - b)
  const metadata = (name: string, tid: number, args: object) => ({ ph: 'M', name, pid: PID, tid, args })
  const traceEvents = [
    metadata('process_name', 0, { name: title }),
    // The tid 0 is the process.
    ...threads.flatMap((thread) => [
      metadata('thread_name', thread + 2, { name: rowName(thread) }),
      metadata('thread_sort_index', thread + 2, { sort_index: thread + 2 }),
    ]),
    ...[...events]
      .sort((a, b) => a.thread - b.thread || a.begin - b.begin || b.end - a.end)
      .map(({ thread, name, op, layer, begin, end }) => ({
        ph: 'X',
        name: op || name,
        cat: name,
        pid: PID,
        tid: thread + 2,
        ts: microseconds(begin - start),
        dur: microseconds(end - begin),
        args: { layer, kind: name },
      })),
  ]
  return `{"displayTimeUnit":"ms","traceEvents":[\n${traceEvents.map((event) => JSON.stringify(event)).join(',\n')}\n]}\n`
}

/** Converts milliseconds to microseconds, rounded to the nanosecond. */
const microseconds = (ms: number): number => Math.round(Math.max(0, ms) * 1e6) / 1e3
