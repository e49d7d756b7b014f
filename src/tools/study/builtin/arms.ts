/** Settings named by terms of the literature: 2 top-1 at capacity 1x, a dense model of equal FLOPs. */
import type { Settings } from '../contract.ts'

/** Settings of fields of `model.moe`. */
export const moe = (settings: Settings): Settings =>
  Object.fromEntries(Object.entries(settings).map(([field, value]) => [`model.moe.${field}`, value]))

export const topK = (k: number, capacity: 'kx' | '1x' | 'none', more: Settings = {}): Settings =>
  moe({ router: 'top-k', k, capacity, ...more })

export const prototypes = (z: number, k: number, capacity: 'kx' | '1x' | 'none', more: Settings = {}): Settings =>
  moe({ router: 'prototype', prototypes: z, k, capacity, ...more })

/** A dense model. With `hidden` k times that of an expert, it costs as much as k activated experts without drops. */
export const dense = (hidden: number): Settings => ({ 'model.moe': null, 'model.hidden': hidden })

export const unbalanced: Settings = { 'balance.coefficient': 0 }
