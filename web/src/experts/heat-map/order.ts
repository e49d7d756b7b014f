/** Order of experts in a heat map, and gaps between prototypes. */
import type { RouterInfo } from '../../../../src/faces/watch/api.ts'

/**
 * - `number`: experts as they are numbered
 * - `load`: the most loaded expert first
 * - `prototype`: prototypes with gaps between them, and in each the most loaded expert first
 */
export const orders = ['number', 'load', 'prototype'] as const
export type Order = (typeof orders)[number]

type Experts = Pick<RouterInfo, 'experts' | 'prototypes'>

/** Experts in display order. Of equal loads the lower number comes first, so that the order does not flicker. */
export function sortedExperts(
  { experts, prototypes }: Experts,
  order: Order,
  load: (expert: number) => number,
): number[] {
  const sorted = Array.from({ length: experts }, (_, expert) => expert)
  if (order === 'number') return sorted
  const group = order === 'prototype' ? experts / prototypes : experts
  return sorted.sort((a, b) => Math.floor(a / group) - Math.floor(b / group) || load(b) - load(a) || a - b)
}

/** Positions with a gap before them; empty if the routers disagree. */
export function gapsOf(routers: readonly Experts[], order: Order): number[] {
  const [first, ...rest] = routers
  if (order !== 'prototype' || first === undefined || first.prototypes < 2) return []
  const { experts, prototypes } = first
  if (rest.some((other) => other.experts !== experts || other.prototypes !== prototypes)) return []
  return Array.from({ length: prototypes - 1 }, (_, z) => ((z + 1) * experts) / prototypes)
}

/** Names of routers: `3`, or `3 qkv` if modules of several kinds are routed. */
export function routerNames(routers: readonly Pick<RouterInfo, 'layer' | 'module'>[]): string[] {
  const isUniform = new Set(routers.map(({ module }) => module)).size < 2
  return routers.map(({ layer, module }) => (isUniform ? String(layer) : `${layer} ${module}`))
}
