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
import { RunEvents } from './tensorboard.ts'

/** Names of the logs of which each line is JSON. The ledger is only written with `parallel.ledger`. */
export const logNames = ['metrics', 'routing', 'ledger'] as const
type LogName = (typeof logNames)[number]

/** The file of a log, which has the ending .jsonl. */
export const logFile = (directory: string, name: LogName): string => join(directory, `${name}.jsonl`)

export class RunLogs implements RunLog {
  private readonly path: string
  private readonly config: RunConfig
  private readonly isResumed: boolean
  private readonly lines = new Map<LogName, AppendFile>()
  private events: RunEvents | undefined
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
    const warnings: (string | null)[] = []
    try {
      // The records of an earlier ledger are cut off even if the run is continued without one.
      for (const name of logNames) warnings.push(await rewindLog(logFile(this.path, name), step))
      for (const name of logNames) {
        if (name === 'ledger' && !this.config.parallel.ledger) continue
        // A new run creates its logs, and never appends to a file that it did not write.
        const file = await AppendFile.open(logFile(this.path, name), this.isResumed ? 'continue' : 'fresh')
        this.lines.set(name, file)
      }
      this.events = await RunEvents.open(this.path, this.isResumed ? step : undefined)
      await syncFolder(this.path)
      return warnings.filter((warning) => warning !== null)
    } catch (error) {
      for (const file of this.files) {
        await file.close()
        if (!this.isResumed) await rm(file.path, { force: true })
      }
      this.lines.clear()
      this.events = undefined
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
    this.append('metrics', record)
    this.events?.record(kind, step, record)
  }

  /** Appends a line to routing.jsonl. @throws RunError if an earlier write failed */
  recordRouting(record: RoutingRecord): void {
    this.append('routing', record)
  }

  /** Appends a line to ledger.jsonl, if `parallel.ledger` is set. @throws RunError if an earlier write failed */
  recordLedger(record: LedgerRecord): void {
    this.lines.get('ledger')?.append(jsonLine(record))
  }

  /** Waits until every record would survive a power cut. @throws RunError if a write failed */
  async flush(): Promise<void> {
    await Promise.all([...Array.from(this.lines.values(), (file) => file.sync()), this.events?.flush()])
  }

  /** Writes queued records. A run that is continued without a further record leaves no event file. */
  async close(): Promise<void> {
    const closed = await Promise.allSettled(this.files.map((file) => file.close()))
    for (const result of closed) if (result.status === 'rejected') throw result.reason
    if (this.events && this.isResumed && !this.hasRecords) await rm(this.events.path, { force: true })
  }

  /** Removes the logs that {@link rewind} has opened. */
  async remove(): Promise<void> {
    for (const { path } of this.files) await rm(path, { force: true })
  }

  private get files(): readonly (AppendFile | RunEvents)[] {
    return [...this.lines.values(), ...(this.events ? [this.events] : [])]
  }

  private append(name: LogName, record: object): void {
    const file = this.lines.get(name)
    if (!file) throw new Error('internal: rewind must be called before the first record')
    this.hasRecords = true
    file.append(jsonLine(record))
  }
}
