/**
 * How decisive the routers of a run are, layer by layer. Arms whose routers weight their experts differently differ in
 * more than the choice of experts: the output of the experts is scaled by the total gate, and a router whose entropy
 * stays near the largest possible entropy hardly prefers any expert.
 */
import { group } from 'd3-array'
import { hasRouterWeights } from '../../../core/model/routing/routers.ts'
import type { FinishedRun, LayerHistory } from '../contract.ts'
import { mean } from '../statistics.ts'

/** Decisiveness of a layer: means over the last quarter of training, and over the routers of the layer. */
export interface Decisiveness {
  readonly layer: number
  /** Mean total gate of a token; null in a record of an earlier version. */
  readonly gate: number | null
  /** Entropy over the largest possible entropy, ln(N/Z); null if that is 0, and for routers without weights. */
  readonly entropyShare: number | null
}

/** One entry for each layer with experts; empty for a dense model. */
export function decisivenessOf({ layers, config }: FinishedRun): Decisiveness[] {
  const { moe } = config.model
  if (!moe) return []
  const largest = hasRouterWeights(moe) ? Math.log(moe.experts / moe.prototypes) : 0
  return [...group(layers, ({ layer }) => layer)].map(([layer, routers]) => {
    const entropy = lastOf(routers, (router) => router.entropy)
    const entropyShare = entropy === null || largest === 0 ? null : entropy / largest
    return { layer, gate: lastOf(routers, (router) => router.gate ?? []), entropyShare }
  })
}

/** Mean of the last quarter of the snapshots, over routers. */
const lastOf = (routers: readonly LayerHistory[], values: (router: LayerHistory) => readonly number[]): number | null =>
  mean(routers.flatMap((router) => lastQuarter(values(router))).filter(Number.isFinite))

const lastQuarter = (values: readonly number[]): readonly number[] => values.slice(Math.floor(values.length * 0.75))
