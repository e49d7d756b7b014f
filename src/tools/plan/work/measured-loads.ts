/** Expert loads measured by a run of Choir, from its `routing.jsonl`. */
import { join } from 'node:path'
import { RunError, UsageError } from '../../../core/errors.ts'
import type { MoeConfig, RoutedModule } from '../../../core/model/config/moe-config.ts'
import type { RoutingRecord } from '../../../core/model/routing/statistics.ts'
import { loadRunConfig } from '../../../node/run/load-config.ts'
import { readJsonLines } from '../../../node/system/jsonl.ts'
import { type ExpertLoads, type ModelLoads, quantilesOf, shuffled } from './load.ts'

/** Number of last records averaged per router; a single step routes too few tokens. */
const RECORDS = 10

export interface MeasuredLoads {
  readonly loads: ModelLoads
  /** Mean over routers of the c_v before drops. */
  readonly cv: number
  /** Whether run and plan differ in experts or layers, so that only the distribution of loads is used. */
  readonly transferred: boolean
}

/**
 * Reads the measured loads of a run. If the run has the planned shape, every expert gets its measured load. Otherwise
 * only the distribution is used: a module of the plan gets the quantiles of the module at the nearest relative depth,
 * in random order.
 *
 * @throws UsageError if the run has no experts; RunError if nothing is recorded
 */
export async function measuredLoads(directory: string, moe: MoeConfig, layers: number): Promise<MeasuredLoads> {
  const { model } = await loadRunConfig(directory)
  if (!model.moe) throw new UsageError(`invalid plan.load.run: ${JSON.stringify(directory)} (the run has no experts)`)
  const measured = await meanLoadsByModule(directory)
  if (measured.size === 0)
    throw new RunError(`${join(directory, 'routing.jsonl')} has no record yet (train beyond train.routingEvery steps)`)
  const transferred = model.moe.experts !== moe.experts || model.layers !== layers
  const cache = new Map<string, ExpertLoads>()
  const loads: ModelLoads = (layer, module) => {
    const name = nameOf(layer, module)
    const found = cache.get(name) ?? (transferred ? undefined : measured.get(name)) ?? transfer(name, layer, module)
    cache.set(name, found)
    return found
  }
  const transfer = (name: string, layer: number, module: RoutedModule): ExpertLoads => {
    const depth = layers > 1 ? layer / (layers - 1) : 0
    const sameModule = [...measured.keys()].filter((key) => key.endsWith(`.${module}`))
    const candidates = (sameModule.length > 0 ? sameModule : [...measured.keys()]).map((key) => ({
      key,
      distance: Math.abs(Number.parseInt(key, 10) / Math.max(1, model.layers - 1) - depth),
    }))
    const nearest = candidates.reduce((a, b) => (b.distance < a.distance ? b : a))
    return shuffled(quantilesOf(measured.get(nearest.key) ?? [], moe.experts), name)
  }
  const cvs = [...measured.values()].map(cvOf)
  return { loads, cv: cvs.reduce((a, b) => a + b, 0) / cvs.length, transferred }
}

const nameOf = (layer: number, module: RoutedModule): string => `${layer}.${module}`

async function meanLoadsByModule(directory: string): Promise<Map<string, ExpertLoads>> {
  const recent = new Map<string, RoutingRecord[]>()
  try {
    for await (const record of readJsonLines<RoutingRecord>(join(directory, 'routing.jsonl'))) {
      if (!Array.isArray(record.tokens_per_expert)) throw new Error('a record has no tokens_per_expert')
      const name = nameOf(record.layer, record.module)
      recent.set(name, [...(recent.get(name) ?? []).slice(1 - RECORDS), record])
    }
  } catch (error) {
    throw new RunError(`cannot read ${join(directory, 'routing.jsonl')}: ${(error as Error).message}`)
  }
  return new Map([...recent].map(([name, records]) => [name, meanLoads(records)]))
}

function meanLoads(records: readonly RoutingRecord[]): ExpertLoads {
  const experts = records[0]?.tokens_per_expert.length ?? 0
  const sums = Array.from({ length: experts }, (_, e) =>
    records.reduce((sum, { tokens_per_expert }) => sum + (tokens_per_expert[e] ?? 0), 0),
  )
  const mean = sums.reduce((a, b) => a + b, 0) / experts
  return sums.map((sum) => (mean > 0 ? sum / mean : 1))
}

/** Coefficient of variation of loads whose mean is 1. */
export const cvOf = (loads: ExpertLoads): number =>
  Math.sqrt(loads.reduce((sum, load) => sum + (load - 1) ** 2, 0) / loads.length)
