/** Settings by the words of the literature: 2 top-1 at capacity 1x, a dense model of equal FLOPs. */
import type { Settings } from '../contract.ts'

/** Fields of `model.moe`. */
export const moe = (settings: Settings): Settings =>
  Object.fromEntries(Object.entries(settings).map(([field, value]) => [`model.moe.${field}`, value]))

export const topK = (k: number, capacity: 'kx' | '1x' | 'none', more: Settings = {}): Settings =>
  moe({ router: 'top-k', k, capacity, ...more })

export const prototypes = (z: number, k: number, capacity: 'kx' | '1x', more: Settings = {}): Settings =>
  moe({ router: 'prototype', prototypes: z, k, capacity, ...more })

/**
 * A dense model whose feed-forward network is as wide as so many experts: what a token costs when it activates
 * that many and none is dropped.
 */
export const dense = (hidden: number): Settings => ({ 'model.moe': null, 'model.hidden': hidden })

export const unbalanced: Settings = { 'balance.coefficient': 0 }
