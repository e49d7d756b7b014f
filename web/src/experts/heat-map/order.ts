/** In which order experts stand beside each other, and where a gap parts the prototypes. */
import type { RouterInfo } from '../../../../src/watch/api.ts'

/**
 * - `number`: as they are numbered
 * - `load`: most loaded first
 * - `prototype`: a gap between prototypes, and in each the most loaded first
 */
export const orders = ['number', 'load', 'prototype'] as const
export type Order = (typeof orders)[number]

type Experts = Pick<RouterInfo, 'experts' | 'prototypes'>

/** Experts in order. Of equal loads, the lower number first, so that an order never flickers. */
export function ordered({ experts, prototypes }: Experts, order: Order, load: (expert: number) => number): number[] {
  const sorted = Array.from({ length: experts }, (_, expert) => expert)
  if (order === 'number') return sorted
  const group = order === 'prototype' ? experts / prototypes : experts
  return sorted.sort((a, b) => Math.floor(a / group) - Math.floor(b / group) || load(b) - load(a) || a - b)
}

/** Places that a gap stands before, where all routers agree on them. */
export function gapsOf(routers: readonly Experts[], order: Order): number[] {
  const [first, ...others] = routers
  if (order !== 'prototype' || first === undefined || first.prototypes < 2) return []
  const { experts, prototypes } = first
  if (others.some((other) => other.experts !== experts || other.prototypes !== prototypes)) return []
  return Array.from({ length: prototypes - 1 }, (_, z) => ((z + 1) * experts) / prototypes)
}

/** `3`, or `3 qkv` where a layer has more than its feed-forward network routed. */
export function routerNames(routers: readonly Pick<RouterInfo, 'layer' | 'module'>[]): string[] {
  const alike = new Set(routers.map(({ module }) => module)).size < 2
  return routers.map(({ layer, module }) => (alike ? String(layer) : `${layer} ${module}`))
}
