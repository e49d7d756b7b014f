/** Which layers a pipeline stage has, and what every stage computes for one micro-batch. */
import { routedModules } from '../../model/parameters.ts'
import type { PlannedRun } from '../inputs/settings.ts'
import type { Layout } from '../search/layout.ts'
import { type Component, type Slice, sliceOf } from './components.ts'
import type { ExpertLoads, ModelLoads } from './load.ts'
import type { Parts } from './parts.ts'
import { embeddingWork, headWork, type LayerWork, layerWork } from './work.ts'

export interface PipelineStage {
  readonly index: number
  readonly layers: readonly LayerWork[]
  /** Embedding on the first stage, head on the last. */
  readonly ends: readonly Component[]
  /** Numbers of the layers. */
  readonly from: number
  readonly to: number
}

export interface Workload {
  readonly slice: Slice
  readonly stages: readonly PipelineStage[]
}

/**
 * What the devices of a layout have to do. Layouts that differ in stages, ZeRO or recomputation have the same
 * layers to do, and layers with the same loads are alike: a search remembers both.
 */
export class Workloads {
  private readonly run: PlannedRun
  private readonly loads: ModelLoads
  private readonly known = new Map<
    string,
    { slice: Slice; layers: LayerWork[]; embedding: Component; head: Component }
  >()

  constructor(run: PlannedRun, loads: ModelLoads) {
    this.run = run
    this.loads = loads
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
    const known = this.known.get(key)
    if (known) return known
    const { model } = this.run
    const alike: { loads: readonly ExpertLoads[]; work: LayerWork }[] = []
    const layers = Array.from({ length: model.layers }, (_, layer) => {
      const loads = routedModules(model, layer).map((module) => this.loads(layer, module))
      const same = alike.find(
        (other) => loads.length === other.loads.length && loads.every((each, i) => each === other.loads[i]),
      )
      if (same) return same.work
      const work = layerWork(slice, layer, this.loads)
      alike.push({ loads, work })
      return work
    })
    const made = { slice, layers, embedding: embeddingWork(slice), head: headWork(slice) }
    this.known.set(key, made)
    return made
  }
}

/** Parameters of a stage. A tied embedding is held by the first stage and, to multiply with, by the last. */
export function stageParts(
  { layers, embedding, head, tied }: Parts,
  { from, to, index }: PipelineStage,
  stages: number,
) {
  const last = index === stages - 1
  const copy = { dense: tied, experts: { parameters: 0, factored: 0 } }
  return [
    ...layers.slice(from, to),
    ...(index === 0 ? [embedding] : []),
    ...(last ? [head] : []),
    ...(last && index > 0 && tied.parameters > 0 ? [copy] : []),
  ]
}
