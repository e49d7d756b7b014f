/** The records of a run in memory, as the lines of its files. */

import type { RoutingRecord } from '../../core/model/routing/statistics.ts'
import type { RunLog } from '../../train/run/run-log.ts'
import type { EvalRecord, TrainRecord } from '../../train/step/metrics/records.ts'
import { bytesOf, type RunFiles, textOf } from './run-files.ts'

type Metrics = TrainRecord | EvalRecord

export class MemoryLog implements RunLog {
  private readonly metricLines: string[]
  private readonly routingLines: string[]

  /** Takes over the records of a run up to a step. Later steps will be done again, so their records are left out. */
  constructor(files: RunFiles = new Map(), step = 0) {
    this.metricLines = linesUpTo(files.get('metrics.jsonl'), step)
    this.routingLines = linesUpTo(files.get('routing.jsonl'), step)
  }

  record(_kind: string, _step: number, record: object): void {
    this.metricLines.push(JSON.stringify(record))
  }

  recordRouting(record: RoutingRecord): void {
    this.routingLines.push(JSON.stringify(record))
  }

  /** Records nothing: a ledger lists transfers between ranks, and a page has only one rank. */
  recordLedger(): void {}

  metrics(): Metrics[] {
    return this.metricLines.map((line) => JSON.parse(line) as Metrics)
  }

  routing(): RoutingRecord[] {
    return this.routingLines.map((line) => JSON.parse(line) as RoutingRecord)
  }

  files(): RunFiles {
    const joined = (lines: readonly string[]) => bytesOf(lines.map((line) => `${line}\n`).join(''))
    return new Map([
      ['metrics.jsonl', joined(this.metricLines)],
      ['routing.jsonl', joined(this.routingLines)],
    ])
  }
}

/** The lines before the first one that is damaged or of a later step. A partial line at the end is left out. */
function linesUpTo(bytes: Uint8Array | undefined, step: number): string[] {
  const lines = bytes ? textOf(bytes).split('\n').slice(0, -1) : []
  const end = lines.findIndex((line) => !(stepOf(line) <= step))
  return end < 0 ? lines : lines.slice(0, end)
}

/** The step of a line; NaN if the line is damaged. */
function stepOf(line: string): number {
  try {
    return Number((JSON.parse(line) as { step?: unknown }).step ?? Number.NaN)
  } catch {
    return Number.NaN
  }
}
