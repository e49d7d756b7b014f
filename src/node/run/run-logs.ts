/**
 * The logs of a run: metrics.jsonl, routing.jsonl, ledger.jsonl and a file for TensorBoard. Records are appended in
 * order. When a run is resumed, records after its checkpoint are removed first, since their steps are repeated; so the
 * logs of a resumed run read as if it had never stopped.
 */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { RunConfig } from '../../core/config/run-config.ts'
import { RunError } from '../../core/errors.ts'
import type { RoutingRecord } from '../../core/model/routing/statistics.ts'
import type { RunLog } from '../../train/run/run-log.ts'
import type { EvalRecord, LedgerRecord, RanksRecord, TrainRecord } from '../../train/step/metrics/records.ts'
import { AppendFile } from '../system/append-file.ts'
import { syncFolder } from '../system/disk.ts'
import { jsonLine, readJsonLines } from '../system/jsonl.ts'
import { rewindLog } from './rewind-log.ts'
import { RunEvents } from './tensorboard/run-events.ts'

/** Names of the logs of which each line is JSON. */
export const logNames = ['metrics', 'routing', 'ledger'] as const

/** The file of a log, which has the ending .jsonl. */
export const logFile = (directory: string, name: (typeof logNames)[number]): string => join(directory, `${name}.jsonl`)

interface LogFiles {
  readonly metrics: AppendFile
  readonly routing: AppendFile
  readonly events: RunEvents
  /** Null without `parallel.ledger`. */
  readonly ledger: AppendFile | null
}

export class RunLogs implements RunLog {
  private readonly path: string
  private readonly config: RunConfig
  private readonly isResumed: boolean
  private files: LogFiles | undefined
  /** Whether this process has written a record. */
  hasRecords = false

  /** @param path The run directory. */
  constructor(path: string, config: RunConfig, isResumed: boolean) {
    this.path = path
    this.config = config
    this.isResumed = isResumed
  }

  /**
   * Removes records of steps after `step`, which will be repeated, from the logs, and opens the logs for appending. It
   * must be called once, before the first record.
   * @returns Warnings about logs that are damaged
   */
  async rewind(step: number): Promise<string[]> {
    if (this.files) throw new Error('internal: rewind must be called once, before the first record')
    const [metrics, routing, ledger] = logNames.map((name) => logFile(this.path, name)) as [string, string, string]
    const opened: AppendFile[] = []
    // A new run creates its logs, and never appends to a file that it did not write.
    const open = async (path: string): Promise<AppendFile> => {
      const file = await AppendFile.open(path, this.isResumed ? 'continue' : 'fresh')
      opened.push(file)
      return file
    }
    try {
      const warnings: (string | null)[] = []
      // The records of an earlier ledger are cut off even if the run is continued without one.
      for (const log of [metrics, routing, ledger]) warnings.push(await rewindLog(log, step))
      this.files = {
        metrics: await open(metrics),
        routing: await open(routing),
        ledger: this.config.parallel.ledger ? await open(ledger) : null,
        events: await RunEvents.open(this.path, this.config, this.isResumed ? step : undefined),
      }
      await syncFolder(this.path)
      return warnings.filter((warning) => warning !== null)
    } catch (error) {
      for (const file of this.files ? [] : opened) {
        await file.close()
        if (!this.isResumed) await rm(file.path, { force: true })
      }
      throw new RunError(`cannot open the logs of run ${this.path}: ${(error as Error).message}`)
    }
  }

  /** Whether metrics.jsonl has an evaluation of a step. Call it after {@link rewind}. */
  async hasEvaluation(step: number): Promise<boolean> {
    for await (const record of readJsonLines<{ kind?: unknown; step?: unknown }>(logFile(this.path, 'metrics')))
      if (record.kind === 'eval' && record.step === step) return true
    return false
  }

  /** Appends a record to metrics.jsonl and to the TensorBoard file. @throws RunError if an earlier write failed */
  record(kind: 'train' | 'eval' | 'ranks', step: number, record: TrainRecord | EvalRecord | RanksRecord): void {
    const { metrics, events } = this.opened()
    this.hasRecords = true
    metrics.append(jsonLine(record))
    events.record(kind, step, record)
  }

  /**
   * Appends a line to routing.jsonl, and the loads of the experts to the TensorBoard file.
   * @throws RunError if an earlier write failed
   */
  recordRouting(record: RoutingRecord): void {
    const { routing, events } = this.opened()
    this.hasRecords = true
    routing.append(jsonLine(record))
    events.routing(record)
  }

  /** Appends a line to ledger.jsonl, if `parallel.ledger` is set. @throws RunError if an earlier write failed */
  recordLedger(record: LedgerRecord): void {
    this.opened().ledger?.append(jsonLine(record))
  }

  /** Waits until every record would survive a power cut. @throws RunError if a write failed */
  async flush(): Promise<void> {
    const { metrics, routing, events, ledger } = this.opened()
    await Promise.all([metrics.sync(), routing.sync(), events.flush(), ledger?.sync()])
  }

  /** Writes queued records. A run that is continued without a further record leaves no event file. */
  async close(): Promise<void> {
    if (!this.files) return
    const { metrics, routing, events, ledger } = this.files
    const closed = await Promise.allSettled([metrics.close(), routing.close(), events.close(), ledger?.close()])
    for (const result of closed) if (result.status === 'rejected') throw result.reason
    if (this.isResumed && !this.hasRecords) await rm(events.path, { force: true })
  }

  /** Removes the logs that {@link rewind} has opened. */
  async remove(): Promise<void> {
    const { metrics, routing, events, ledger } = this.files ?? {}
    for (const log of [metrics, routing, events, ledger]) if (log) await rm(log.path, { force: true })
  }

  private opened(): LogFiles {
    if (!this.files) throw new Error('internal: rewind must be called before the first record')
    return this.files
  }
}
