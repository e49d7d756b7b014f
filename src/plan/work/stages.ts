/** Pipeline stages: their layers, and the work of each for one micro-batch. */
import { routedModules } from '../../model/parameters.ts'
import type { PlannedRun } from '../inputs/settings.ts'
import type { Layout } from '../search/layout.ts'
import { type Component, type Slice, sliceOf } from './components.ts'
import { embeddingWork, headWork, type LayerWork, layerWork } from './layer-work.ts'
import type { ModelLoads } from './load.ts'
import type { ModelTraffic } from './mixture.ts'
import { noParameters, type ParameterCounts } from './parameter-counts.ts'

export interface PipelineStage {
  readonly index: number
  readonly layers: readonly LayerWork[]
  /** Embedding on the first stage, head on the last. */
  readonly ends: readonly Component[]
  /** Range of layers, `to` excluded. */
  readonly from: number
  readonly to: number
}

export interface Workload {
  readonly slice: Slice
  readonly stages: readonly PipelineStage[]
}

/**
 * Work of the devices of each layout, cached for a search. Layouts that differ only in stages, ZeRO or recomputation
 * share their layers, and layers with the same loads share their work.
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
    const perStage = layers.length / layout.pipeline
    const last = layout.pipeline - 1
    const stages = Array.from({ length: layout.pipeline }, (_, index) => ({
      index,
      from: index * perStage,
      to: (index + 1) * perStage,
      layers: layers.slice(index * perStage, (index + 1) * perStage),
      ends: [...(index === 0 ? [embedding] : []), ...(index === last ? [head] : [])],
    }))
    return { slice, stages }
  }

  private work(slice: Slice) {
    const key = `${slice.sequences} ${slice.tensor} ${slice.expert}`
    const cached = this.cache.get(key)
    if (cached) return cached
    const { model } = this.run
    const distinct: { loads: readonly unknown[]; work: LayerWork }[] = []
    const layers = Array.from({ length: model.layers }, (_, layer) => {
      const modules = routedModules(model, layer)
      const loads = modules.flatMap((module) => [this.loads(layer, module), this.traffic?.(layer, module)])
      const same = distinct.find(
        (other) => loads.length === other.loads.length && loads.every((each, i) => each === other.loads[i]),
      )
      if (same) return same.work
      const work = layerWork(slice, layer, this.loads, this.traffic)
      distinct.push({ loads, work })
      return work
    })
    const sliceWork = { slice, layers, embedding: embeddingWork(slice), head: headWork(slice) }
    this.cache.set(key, sliceWork)
    return sliceWork
  }
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
