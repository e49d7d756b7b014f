/** Loads as a run of Choir had them: from its `routing.jsonl`. */
import { join } from 'node:path'
import { RunError, UsageError } from '../../errors.ts'
import type { MoeConfig } from '../../model/config.ts'
import type { RoutedModule } from '../../model/parameters.ts'
import { loadRunConfig } from '../../run/load-config.ts'
import type { RoutingRecord } from '../../step/records.ts'
import { readJsonLines } from '../../system/jsonl.ts'
import { dealt, type ExpertLoads, type ModelLoads, quantilesOf } from '../work/load.ts'

/** The last records of a router are averaged: one step's loads are few tokens. */
const RECORDS = 10

export interface MeasuredLoads {
  readonly loads: ModelLoads
  /** c_v before drops, mean over routers. */
  readonly cv: number
  /** Whether the run has other experts or layers than the plan, so that only the distribution is taken over. */
  readonly transferred: boolean
}

/**
 * A run of the planned shape gives every expert its own load. Of another shape its loads are taken as a
 * distribution: each module of the plan has the quantiles of the module at the same relative depth, dealt to its
 * experts at random.
 *
 * @throws UsageError when there is no run with sparse layers; RunError when nothing is recorded
 */
export async function measuredLoads(directory: string, moe: MoeConfig, layers: number): Promise<MeasuredLoads> {
  const { model } = await loadRunConfig(directory)
  if (!model.moe) throw new UsageError(`invalid plan.load.run: ${JSON.stringify(directory)} (the run has no experts)`)
  const measured = await means(directory)
  if (measured.size === 0)
    throw new RunError(`${join(directory, 'routing.jsonl')} has no record yet (train beyond train.routingEvery steps)`)
  const transferred = model.moe.experts !== moe.experts || model.layers !== layers
  const known = new Map<string, ExpertLoads>()
  const loads: ModelLoads = (layer, module) => {
    const name = nameOf(layer, module)
    const found = known.get(name) ?? (transferred ? undefined : measured.get(name)) ?? transfer(name, layer, module)
    known.set(name, found)
    return found
  }
  const transfer = (name: string, layer: number, module: RoutedModule): ExpertLoads => {
    const depth = layers > 1 ? layer / (layers - 1) : 0
    const same = [...measured.keys()].filter((key) => key.endsWith(`.${module}`))
    const candidates = (same.length > 0 ? same : [...measured.keys()]).map((key) => ({
      key,
      distance: Math.abs(Number.parseInt(key, 10) / Math.max(1, model.layers - 1) - depth),
    }))
    const nearest = candidates.reduce((a, b) => (b.distance < a.distance ? b : a))
    return dealt(quantilesOf(measured.get(nearest.key) ?? [], moe.experts), name)
  }
  const cvs = [...measured.values()].map(cvOf)
  return { loads, cv: cvs.reduce((a, b) => a + b, 0) / cvs.length, transferred }
}

const nameOf = (layer: number, module: RoutedModule): string => `${layer}.${module}`

async function means(directory: string): Promise<Map<string, ExpertLoads>> {
  const last = new Map<string, RoutingRecord[]>()
  try {
    for await (const record of readJsonLines<RoutingRecord>(join(directory, 'routing.jsonl'))) {
      if (!Array.isArray(record.tokens_per_expert)) throw new Error('a record has no tokens_per_expert')
      const name = nameOf(record.layer, record.module)
      last.set(name, [...(last.get(name) ?? []).slice(1 - RECORDS), record])
    }
  } catch (error) {
    throw new RunError(`cannot read ${join(directory, 'routing.jsonl')}: ${(error as Error).message}`)
  }
  return new Map([...last].map(([name, records]) => [name, meanLoads(records)]))
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
