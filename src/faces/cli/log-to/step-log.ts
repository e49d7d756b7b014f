/**
 * Sends the lines of `--log-to` to their receiver. Training does not wait for the receiver and does not fail with it:
 * lines wait in a bounded queue, lines that do not fit are dropped and counted, and the first failure is a warning.
 */
import type { RunConfig } from '../../../core/config/run-config.ts'
import type { TrainEvent, TrainSummary } from '../../../train/loop/events.ts'
import type { Display } from '../display/display.ts'
import { jsonText } from '../json.ts'
import { addressSink, commandSink, isAddress, type LineSink, loopbackAddress, within } from './sinks.ts'

/** Number of lines that may wait: half a minute at 30 steps a second. */
const QUEUE = 1000

/** Time for the last lines, for an answer to a request, and for a command to end. */
const LIMIT_MS = 15_000

/** Time after the end of the training until a note explains that it waits for the receiver. */
const PATIENCE_MS = 2000

const GOES_ON = 'the training goes on, and lines that cannot be delivered are lost'

/** Events without a line: preparations and notices, which are not about steps. */
const omitted: ReadonlySet<string> = new Set(['prepare', 'notice'])

export class StepLog {
  private readonly sink: LineSink
  private readonly config: RunConfig
  private readonly display: Display
  private readonly limits: { readonly queue: number; readonly ms: number }
  private readonly waiting: string[] = []
  private sending: Promise<void> | undefined
  private isOver = false
  private isClosed = false
  private warned = false
  private lines = 0
  private lost = 0

  /** @param display Shows warnings. @param limits Lines that may wait, and time for the last ones. */
  constructor(sink: LineSink, config: RunConfig, display: Display, limits = { queue: QUEUE, ms: LIMIT_MS }) {
    this.sink = sink
    this.config = config
    this.display = display
    this.limits = limits
  }

  event(event: TrainEvent): void {
    if (!omitted.has(event.kind)) this.write(event.kind === 'start' ? { ...event, config: this.config } : event)
  }

  /** Writes the last line. */
  summary({ profile: _, trace: __, ...summary }: TrainSummary): void {
    this.isOver = true
    this.write({ kind: 'summary', ...summary })
  }

  /** Delivers waiting lines for a limited time, and ends the receiver. */
  async close(): Promise<void> {
    const patience = setTimeout(() => this.display.note('waiting for the receiver of --log-to ...'), PATIENCE_MS)
    try {
      await within(this.sending ?? Promise.resolve(), this.limits.ms)
      this.isClosed = true
      this.lose(this.waiting.length, 'the receiver was too slow')
      await this.sink.close()
    } catch (error) {
      this.warnOnce((error as Error).message)
    } finally {
      clearTimeout(patience)
    }
    if (this.lost > 0) this.display.note(`--log-to: ${this.lost} of ${this.lines} lines were not delivered`)
  }

  private write(value: object): void {
    this.lines++
    if (this.waiting.length >= this.limits.queue) this.lose(1, 'the receiver is slower than the training')
    else {
      this.waiting.push(jsonText(value, this.lines === 1))
      this.sending ??= this.sendAll()
    }
  }

  private async sendAll(): Promise<void> {
    for (let line = this.waiting[0]; line !== undefined && !this.isClosed; line = this.waiting[0]) {
      const problem = await this.sink.send(line).then(
        () => undefined,
        (error: Error) => error.message,
      )
      // `close` has already counted the lines that were not delivered as lost.
      if (this.isClosed) return
      this.waiting.shift()
      if (problem !== undefined) this.lose(1, problem)
    }
    this.sending = undefined
  }

  private lose(lines: number, reason: string): void {
    this.lost += lines
    if (lines > 0) this.warnOnce(reason)
  }

  private warnOnce(reason: string): void {
    if (this.warned) return
    this.warned = true
    // After the training, the summary stays the last line of standard output; a note goes to standard error.
    if (this.isOver) this.display.note(`--log-to: ${reason}`)
    else this.display.event({ kind: 'warning', message: `--log-to: ${reason}; ${GOES_ON}` })
  }
}

/**
 * @param target A command, or an http address on this machine.
 * @throws UsageError if the address is on another machine
 */
export function openStepLog(target: string, config: RunConfig, display: Display): StepLog {
  const onOutput = (line: string) => display.note(`--log-to: ${line}`)
  const sink = isAddress(target)
    ? addressSink(loopbackAddress(target), LIMIT_MS)
    : commandSink(target, { onOutput, endMs: LIMIT_MS })
  return new StepLog(sink, config, display)
}

/** A display that also logs its events. */
export const withLog = (display: Display, log: StepLog): Display => ({
  event(event) {
    display.event(event)
    log.event(event)
  },
  note: (text) => display.note(text),
  close: () => display.close(),
})
