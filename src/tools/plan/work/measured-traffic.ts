/**
 * Traffic between the ranks that share experts, as a run of Choir with `parallel.ledger` measured it, beside the
 * traffic that even loads would have.
 */
import { join } from 'node:path'
import { type RunConfig, sequencesOfPass } from '../../../core/config/run-config.ts'
import { RunError, UsageError } from '../../../core/errors.ts'
import type { RoutedModule } from '../../../core/model/config/moe-config.ts'
import { moduleWidths } from '../../../core/model/parameters.ts'
import { loadRunConfig } from '../../../node/run/load-config.ts'
import { readJsonLines } from '../../../node/system/jsonl.ts'
import type { LedgerRecord } from '../../../train/step/metrics/records.ts'
import { rankLoad } from './load.ts'
import type { ModelTraffic } from './mixture.ts'

/** Number of last steps that are averaged. */
const STEPS = 10

/** Traffic of a routed module. Bytes are per step, averaged over steps and expert groups. */
export interface ModuleTraffic {
  readonly layer: number
  readonly module: RoutedModule
  /** Bytes that each rank sends, as predicted for even loads. */
  readonly evenBytes: number
  /** Mean over ranks of the bytes that a rank sends. */
  readonly meanBytes: number
  /**
   * Rows that the busiest rank of a group sends or receives in the all-to-all to the experts, whichever is more,
   * divided by the mean. The all-to-all back mirrors it, so over a whole step a rank sends as much as it receives.
   */
  readonly imbalance: number
  /** Rows that the busiest pair of ranks exchanges in one direction, divided by the mean of all pairs. */
  readonly pairImbalance: number
}

export interface MeasuredTraffic {
  readonly directory: string
  /** Number of ranks that share the experts of a layer. */
  readonly expert: number
  /** Number of steps that were averaged. */
  readonly steps: number
  readonly modules: readonly ModuleTraffic[]
}

/** @throws UsageError if the run shares no experts; RunError if it has no ledger, or an unreadable one */
export async function measuredTraffic(directory: string): Promise<MeasuredTraffic> {
  const config = await loadRunConfig(directory)
  const { expert } = config.parallel
  if (!config.model.moe || expert === 1)
    throw new UsageError(
      `invalid plan.load.ledger: ${JSON.stringify(directory)} (its ranks do not share experts: expected a run with ` +
        'parallel.expert above 1)',
    )
  const recent = await lastSteps(directory)
  const steps = new Set(recent.map(({ step }) => step)).size
  if (steps === 0)
    throw new RunError(
      `${join(directory, 'ledger.jsonl')} has no step (train with parallel.ledger=true on several ranks)`,
    )
  const groups = new Set(recent.map(({ first_rank }) => first_rank)).size
  const byModule = new Map<string, LedgerRecord[]>()
  for (const record of recent) {
    const name = `${record.layer} ${record.module}`
    byModule.set(name, [...(byModule.get(name) ?? []), record])
  }
  const modules = [...byModule.values()].map((records) => trafficOf(config, records, groups))
  return { directory, expert, steps, modules }
}

async function lastSteps(directory: string): Promise<LedgerRecord[]> {
  const path = join(directory, 'ledger.jsonl')
  let recent: LedgerRecord[] = []
  try {
    for await (const record of readJsonLines<LedgerRecord>(path)) {
      if (!Array.isArray(record.rows) || !Array.isArray(record.bytes)) throw new Error('a record has no rows and bytes')
      if (record.step !== recent.at(-1)?.step) recent = recent.filter(({ step }) => step > record.step - STEPS)
      recent.push(record)
    }
  } catch (error) {
    throw new RunError(`cannot read ${path}: ${(error as Error).message} (train with parallel.ledger=true)`)
  }
  return recent
}

function trafficOf(config: RunConfig, records: readonly LedgerRecord[], groups: number): ModuleTraffic {
  const { layer, module } = records[0] as LedgerRecord
  const average = (of: (record: LedgerRecord) => number) => sumOf(records.map(of)) / records.length
  return {
    layer,
    module,
    evenBytes: evenBytes(config, module, groups),
    meanBytes: average(({ bytes }) => sumOf(bytes.flat()) / bytes.length),
    imbalance: average(({ rows }) => {
      const received = rows.map((_, rank) => sumOf(rows.map((row) => row[rank] ?? 0)))
      return overMean(Math.max(...rows.map(sumOf), ...received), rows, rows.length)
    }),
    pairImbalance: average(({ rows }) => overMean(Math.max(...rows.flat()), rows, rows.length * (rows.length - 1))),
  }
}

/** A number of rows, divided by the mean of `count` parts of all rows; 1 if there are no rows. */
function overMean(most: number, rows: LedgerRecord['rows'], count: number): number {
  const all = sumOf(rows.flat())
  return all > 0 ? (most * count) / all : 1
}

/** Bytes that a rank sends in a step if all experts are chosen equally: rows and results, and the gradients of both. */
function evenBytes(config: RunConfig, module: RoutedModule, groups: number): number {
  const { model, parallel, train } = config
  const { moe } = model
  if (!moe) return 0
  const { expert, shards = 1 } = parallel
  const tokens = sequencesOfPass(config) * model.sequence
  const { rows } = rankLoad(moe, new Array<number>(moe.experts).fill(1), expert, tokens)
  const passes = (shards * train.microBatches) / (groups * expert)
  const { inputs, outputs } = moduleWidths(model, module)
  return passes * 2 * 4 * rows * (inputs + outputs) * ((expert - 1) / expert)
}

/** The imbalance of each module. It comes from the measured module of the same kind at the nearest relative depth. */
export function trafficImbalance({ modules }: MeasuredTraffic, layers: number): ModelTraffic {
  const depthOf = (layer: number, of: number) => (of > 1 ? layer / (of - 1) : 0)
  const measuredLayers = Math.max(...modules.map(({ layer }) => layer)) + 1
  return (layer, module) => {
    const same = modules.filter((each) => each.module === module)
    const distance = (each: ModuleTraffic) => Math.abs(depthOf(each.layer, measuredLayers) - depthOf(layer, layers))
    const candidates = same.length > 0 ? same : modules
    return candidates.reduce((a, b) => (distance(b) < distance(a) ? b : a)).imbalance
  }
}

const sumOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0)
