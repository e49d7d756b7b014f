/** Settings in the terms of the literature, such as 2 top-1 at capacity 1x or a dense model of equal FLOPs. */
import type { Settings } from '../specification.ts'

/** Turns settings of fields of `model.moe` into settings by full path. */
export const moe = (settings: Settings): Settings =>
  Object.fromEntries(Object.entries(settings).map(([field, value]) => [`model.moe.${field}`, value]))

export const topK = (k: number, capacity: 'kx' | '1x' | 'none', more: Settings = {}): Settings =>
  moe({ router: 'top-k', k, capacity, ...more })

export const prototypes = (z: number, k: number, capacity: 'kx' | '1x' | 'none', more: Settings = {}): Settings =>
  moe({ router: 'prototype', prototypes: z, k, capacity, ...more })

/** A dense model. If `hidden` is k times the hidden width of an expert, it costs as much as k experts without drops. */
export const dense = (hidden: number): Settings => ({ 'model.moe': null, 'model.hidden': hidden })

export const unbalanced: Settings = { 'balance.coefficient': 0 }
