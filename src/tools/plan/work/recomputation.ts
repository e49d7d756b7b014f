/**
 * Recomputation: how much of a component the backward pass computes again, and what the forward pass keeps for it.
 *
 * `full` keeps the inputs of layers only. `operations` keeps them, the results of attention, and those of every other
 * product. `selective` drops results inside modules that cost little. A list of modules
 * does either for each module: `norms`, `activations`, `scores` and `latent` are parts that `selective` drops too;
 * `attention`, `network`, `experts` and `moe` are blocks, whose components are recomputed whole from their input.
 */

import type { Layout, Recompute } from '../inputs/layout.ts'
import type { PlanSettings, RecomputedModule } from '../inputs/settings.ts'
import type { Component } from './components.ts'

/** Recomputation of a layer of a stage: with `recomputeLayers`, layers with it are spread evenly. */
export function recomputeOf({ recomputeLayers }: PlanSettings, { recompute }: Layout, layer: number): Recompute {
  const until = (layers: number) => Math.floor(layers * recomputeLayers + 1e-9)
  return until(layer + 1) > until(layer) ? recompute : 'none'
}

/** Whether a layer keeps its input, from which it is recomputed. */
export const keepsInput = (recompute: Recompute): boolean => recompute === 'full' || recompute === 'operations'

/** What is recomputed of a component: nothing, the part of `selective` or of `operations`, or everything. */
type Extent = 'nothing' | 'part' | 'operations' | 'whole'

/** The first listed block that the component belongs to. The block `moe` contains `experts`. */
function blockOf({ blocks }: Component, modules: readonly RecomputedModule[]): RecomputedModule | undefined {
  return modules.includes('moe') && blocks.includes('moe') ? 'moe' : modules.find((each) => blocks.includes(each))
}

export function extentOf(component: Component, recompute: Recompute): Extent {
  if (recompute === 'none') return 'nothing'
  if (recompute === 'full') return 'whole'
  if (recompute === 'operations') return component.operations ? 'operations' : 'whole'
  const { module, usual } = component.selective
  if (recompute === 'selective') return usual ? 'part' : 'nothing'
  if (blockOf(component, recompute) !== undefined) return 'whole'
  return module !== null && recompute.includes(module) ? 'part' : 'nothing'
}

/** Whether exchanges of the component are repeated. `experts` begins after the exchange, with the rows that arrived. */
export const repeatsExchanges = (component: Component, recompute: Recompute): boolean =>
  extentOf(component, recompute) === 'whole' &&
  (typeof recompute === 'string' || blockOf(component, recompute) !== 'experts')

/** Bytes of a component that its layer keeps for the backward pass, besides the input of the layer. */
export function keptBytes(component: Component, recompute: Recompute): number {
  const { checkpoint, selective, operations } = component
  const extent = extentOf(component, recompute)
  if (extent === 'operations') return operations?.bytes ?? 0
  const kept = component.keptBytes - { nothing: 0, part: selective.bytes, whole: component.keptBytes }[extent]
  if (typeof recompute === 'string') return kept
  // An input that is a result of a recomputed norm is not kept either.
  const isInput = extent !== 'part' && checkpoint.blocks.some((block) => isRecomputedAlone(block, component, recompute))
  return kept + (isInput ? checkpoint.bytes : 0)
}

/** Whether a block is recomputed from its own input, rather than as a part of a larger block. */
const isRecomputedAlone = (
  block: RecomputedModule,
  component: Component,
  modules: readonly RecomputedModule[],
): boolean => modules.includes(block) && !(block === 'experts' && blockOf(component, modules) !== 'experts')

/**
 * Recomputed bytes that exist at the same time: the parts of a layer, and one block of it.
 * @returns for each component its bytes
 */
export function recomputedBytes(components: readonly Component[], recompute: Recompute): number[] {
  const dropped = components.map((component) => component.keptBytes - keptBytes(component, recompute))
  // `operations` also keeps results that no gradient reads.
  if (typeof recompute === 'string') return dropped.map((bytes) => Math.max(0, bytes))
  const blocks = components.map((component) => blockOf(component, recompute))
  const size = (block: RecomputedModule) =>
    dropped.reduce((sum, bytes, i) => sum + (blocks[i] === block ? bytes : 0), 0)
  const largest = recompute.reduce((a, b) => (size(b) > size(a) ? b : a))
  return dropped.map((bytes, i) => (blocks[i] === undefined || blocks[i] === largest ? Math.max(0, bytes) : 0))
}
