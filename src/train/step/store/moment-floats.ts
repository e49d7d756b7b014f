import { type CompactState, momentLayout } from '../../../engine/contract/moments.ts'
import { type Layout, placeOf, type Share } from './placement.ts'

/**
 * Number of floats that AdamW's state of a share takes in a region of moments. Compact state has one region, float32
 * state (null) has two.
 */
export function momentFloats({ spec, from, to, floats }: Share, compact: CompactState | null, layout: Layout): number {
  if (!compact) return floats
  const sizeOf = (unit: number) => momentLayout(compact, placeOf(spec, unit, unit + 1, layout).floats).floats
  return (to - from - 1) * sizeOf(from) + sizeOf(to - 1)
}
