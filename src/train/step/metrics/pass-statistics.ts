/**
 * The numbers that a pass leaves beside gradients: its losses, and the counts of each routed module. A rank sends them to
 * other ranks as one array.
 */
import type { Tensor } from '../../../core/graph/tensor.ts'
import type { RoutedModule } from '../../../core/model/config/moe-config.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import type { LayerCounts } from '../../../core/model/routing/statistics.ts'
import type { Losses } from '../../../core/model/transformer.ts'
import type { PortMemory } from '../../../engine/contract/runtime.ts'

/** Name prefix of the statistics of a routed module. */
export const statisticsPrefix = ({
  layer,
  module,
}: {
  readonly layer: number
  readonly module: RoutedModule
}): string => (module === 'ffn' ? `layers.${layer}` : `layers.${layer}.${module}`)

/** Name of the output with the sum of the losses of the user's own layers. */
const layerLossName = 'layer loss'

/** The losses and the statistics of each routed module, by name. */
export function outputsOf({ loss, layerLoss, reports }: Losses): Record<string, Tensor> {
  const outputs: Record<string, Tensor> = { loss, ...(layerLoss && { [layerLossName]: layerLoss }) }
  for (const report of reports) {
    const { count_N, kept_N, unserved, gate, losses: router } = report
    const name = statisticsPrefix(report)
    outputs[`${name}.count`] = count_N
    outputs[`${name}.kept`] = kept_N
    outputs[`${name}.gate`] = gate
    if (unserved) outputs[`${name}.unserved`] = unserved
    if (!router) continue
    outputs[`${name}.balance`] = router.balance
    outputs[`${name}.z`] = router.z
    outputs[`${name}.entropy`] = router.entropy
  }
  return outputs
}

/** Zero counts of the routed modules of a pass. */
export const emptyCounts = ({ moe }: ModelConfig, { reports }: Losses): LayerCounts[] =>
  reports.map(({ layer, module, capacity, count_N, losses }) => ({
    layer,
    module,
    capacity,
    tokens: new Float64Array(count_N.shape[0] as number),
    kept: new Float64Array(count_N.shape[0] as number),
    largestEntropy: moe && losses ? Math.log(moe.experts / moe.prototypes) : null,
    balance: 0,
    z: 0,
    entropy: 0,
    gate: 0,
    unserved: 0,
    passes: 0,
  }))

/** Scalars of a routed module in the statistics, in order; 0 where the router has no such scalar. */
const passScalars = ['balance', 'z', 'entropy', 'gate', 'unserved'] as const satisfies readonly (keyof LayerCounts)[]

/** The numbers before those of the routed modules: the loss, and the loss of the user's own layers. */
const LOSSES = 2

/** The statistics of a pass, from the memory of its outputs. */
export function statisticsOf({ reports }: Losses, buffers: Readonly<Record<string, PortMemory>>): Float64Array {
  const vector = (name: string) => (buffers[name] as Float32Array | undefined) ?? []
  const scalar = (name: string) => Number(vector(name)[0] ?? 0)
  const values = reports.flatMap((report) => {
    const name = statisticsPrefix(report)
    const scalars = passScalars.map((kind) => scalar(`${name}.${kind}`))
    return [...vector(`${name}.count`), ...vector(`${name}.kept`), ...scalars]
  })
  return Float64Array.from([scalar('loss'), scalar(layerLossName), ...values])
}

/** Length of the statistics of a pass. */
export const statisticsSize = ({ reports }: Losses): number =>
  reports.reduce((size, { count_N }) => size + 2 * (count_N.shape[0] as number) + passScalars.length, LOSSES)

/** The losses of a pass. */
export interface PassLosses {
  /** Cross-entropy, nats a token. */
  readonly loss: number
  /** The sum of the losses of the user's own layers; 0 without such losses. */
  readonly layerLoss: number
}

/** Adds the statistics of a pass to counts of the same modules; returns the losses. */
export function addStatistics(layers: readonly LayerCounts[], statistics: Float64Array): PassLosses {
  const values = statistics.values()
  const next = () => values.next().value as number
  const losses = { loss: next(), layerLoss: next() }
  for (const counts of layers) {
    for (const of of [counts.tokens, counts.kept])
      for (let e = 0; e < of.length; e++) of[e] = (of[e] as number) + next()
    for (const kind of passScalars) counts[kind] += next()
    counts.passes++
  }
  return losses
}
