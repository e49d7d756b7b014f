/** The log that receives the records of a run. */

import type { RoutingRecord } from '../../core/model/routing/statistics.ts'
import type { EvalRecord, LedgerRecord, RanksRecord, TrainRecord } from '../step/metrics/records.ts'

export interface RunLog {
  record(kind: 'train' | 'eval' | 'ranks', step: number, record: TrainRecord | EvalRecord | RanksRecord): void
  recordRouting(record: RoutingRecord): void
  recordLedger(record: LedgerRecord): void
}
