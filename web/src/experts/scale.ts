/**
 * The scale of colours: symmetric in octaves around the mean, up to an end beyond which colours are saturated. Loads of
 * a balanced router are within a few per cent of the mean, and loads of a collapsed router differ by orders of
 * magnitude, so the end follows the loads. It is one of a few values, so that it rarely changes between snapshots. By
 * itself it is at least 2: otherwise a load of 1.2 in a balanced router would have the colour of an overloaded expert.
 */

import { colourAlong } from '../../../src/core/charts/colour.ts'
import { diverging } from '../../../src/core/charts/palette.ts'

/** Loads over mean at the end of the scale. */
export const scaleEnds = [1.25, 1.5, 2, 4, 8] as const

/** The smallest end that is taken without being chosen. */
const MIN_END = 2

/** Share of the cells that must be within the scale. The others, and dead experts, are saturated. */
const WITHIN = 0.9

/** The smallest end that fits the cells. @param values Loads over mean; NaN where there is no expert */
export function fittingEnd(values: Float32Array): number {
  const octaves = values.filter((value) => value > 0).map((value) => Math.abs(Math.log2(value)))
  const needed = octaves.sort()[Math.floor(WITHIN * (octaves.length - 1))] ?? 0
  return scaleEnds.find((end) => end >= MIN_END && Math.log2(end) >= needed) ?? Math.max(...scaleEnds)
}

/** Position on the scale, -1 to 1. */
export const shareOf = (overMean: number, end: number): number =>
  overMean <= 0 ? -1 : Math.max(-1, Math.min(1, Math.log2(overMean) / Math.log2(end)))

/** Colour of a position on the scale: blue for few tokens, orange for many, and the colour of the page between them. */
export const loadColor = (share: number, dark: boolean): string =>
  colourAlong(diverging[dark ? 'dark' : 'light'], (share + 1) / 2)
