/** Pipeline stages: their layers, and the work of each for one micro-batch. */
import { routedModules } from '../../../core/model/parameters.ts'
import type { Layout } from '../inputs/layout.ts'
import type { PlannedRun } from '../inputs/settings.ts'
import { isWindowed } from './attention.ts'
import { type Component, type Slice, sliceOf } from './components.ts'
import { embeddingWork, headWork, type LayerWork, layerWork } from './layer-work.ts'
import type { ModelLoads } from './load.ts'
import type { ModelTraffic } from './mixture.ts'
import { noParameters, type ParameterCounts } from './parameter-counts.ts'

export interface PipelineStage {
  readonly index: number
  readonly layers: readonly LayerWork[]
  /** Work of the embedding on the first stage, and of the head on the last. */
  readonly ends: readonly Component[]
  /** Index of the first layer. */
  readonly from: number
  /** Index of the first layer after the stage. */
  readonly to: number
}

export interface Workload {
  readonly slice: Slice
  readonly stages: readonly PipelineStage[]
}

/**
 * Work of the devices of each layout, cached for a search. Layouts that differ only in stages, ZeRO or recomputation
 * share their layers, and layers of the same kind with the same loads share their work.
 */
export class Workloads {
  private readonly run: PlannedRun
  private readonly loads: ModelLoads
  private readonly traffic: ModelTraffic | null
  private readonly cache = new Map<
    string,
    { slice: Slice; layers: LayerWork[]; embedding: Component; head: Component }
  >()

  constructor(run: PlannedRun, loads: ModelLoads, traffic: ModelTraffic | null = null) {
    this.run = run
    this.loads = loads
    this.traffic = traffic
  }

  of(layout: Layout): Workload {
    const slice = sliceOf(this.run, layout)
    const { layers, embedding, head } = this.work(slice)
    const last = layout.pipeline - 1
    const stages = stageRanges(layers.length, layout.pipeline).map(({ from, to }, index) => ({
      index,
      from,
      to,
      layers: layers.slice(from, to),
      ends: [...(index === 0 ? [embedding] : []), ...(index === last ? [head] : [])],
    }))
    return { slice, stages }
  }

  private work(slice: Slice) {
    const key = `${slice.sequences} ${slice.tensor} ${slice.context} ${slice.expert} ${slice.expertTensor}`
    const cached = this.cache.get(key)
    if (cached) return cached
    const { model } = this.run
    const distinct: { traits: readonly unknown[]; work: LayerWork }[] = []
    const layers = Array.from({ length: model.layers }, (_, layer) => {
      const modules = routedModules(model, layer)
      const loads = modules.flatMap((module) => [this.loads(layer, module), this.traffic?.(layer, module)])
      const traits = [isWindowed(model, layer), ...loads]
      const same = distinct.find(
        (other) => traits.length === other.traits.length && traits.every((each, i) => each === other.traits[i]),
      )
      if (same) return same.work
      const work = layerWork(slice, layer, this.loads, this.traffic)
      distinct.push({ traits, work })
      return work
    })
    const sliceWork = { slice, layers, embedding: embeddingWork(slice), head: headWork(slice) }
    this.cache.set(key, sliceWork)
    return sliceWork
  }
}

/**
 * Layers of each pipeline stage, divided as evenly as possible. If the layers do not divide, the last stage has one
 * layer less, since it has the head; then also the first, which has the embedding; then also the stages before the
 * last.
 */
export function stageRanges(layers: number, stages: number): { from: number; to: number }[] {
  const base = Math.floor(layers / stages)
  const longer = layers % stages
  // Stages in the order in which they get one more layer.
  const order = [...Array.from({ length: Math.max(0, stages - 2) }, (_, i) => i + 1), 0, stages - 1]
  const withOneMore = new Set(order.slice(0, longer))
  let from = 0
  return Array.from({ length: stages }, (_, stage) => {
    const to = from + base + (withOneMore.has(stage) ? 1 : 0)
    const range = { from, to }
    from = to
    return range
  })
}

/** Parameters of a stage. The last stage has a copy of a tied embedding, for the head. */
export function stageCounts(
  { layers, embedding, head, tied }: ParameterCounts,
  { from, to, index }: PipelineStage,
  stages: number,
) {
  const last = index === stages - 1
  const copy = { dense: tied, experts: noParameters }
  return [
    ...layers.slice(from, to),
    ...(index === 0 ? [embedding] : []),
    ...(last ? [head] : []),
    ...(last && index > 0 && tied.parameters > 0 ? [copy] : []),
  ]
}
