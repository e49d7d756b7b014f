/**
 * Pattern fills: hatching for missing values, and stripes for parts of bars when the colours of the palette repeat.
 * Each repetition has another direction of stripes, so that up to 50 parts look different.
 */
import { COLOURS } from '../../../core/charts/palette.ts'
import { type Attributes, type Child, element } from '../markup.ts'

/** Directions of stripes in degrees, from the second round of colours on. */
const angles = [45, -45, 0, 90] as const

export interface PartFills {
  /** The patterns that fills refer to. */
  readonly markup: Child
  /** Attributes for a shape of the part. */
  of(index: number): Attributes
}

/** @param id an id that is unique in the document; the prefix of the ids of patterns */
export function partFills(count: number, id: string): PartFills {
  const all = Array.from({ length: count }, (_, index) => ({ index, angle: angleOf(index) }))
  const patterns = all.map(({ index, angle }) =>
    angle === undefined ? undefined : stripes(`${id}-${index}`, angle, `f${index % COLOURS}`, 'stripe', 1),
  )
  return {
    markup: count > COLOURS ? element('defs', {}, patterns) : undefined,
    of: (index) =>
      angleOf(index) === undefined
        ? { class: `part f${index % COLOURS}` }
        : { class: 'part', fill: `url(#${id}-${index})` },
  }
}

const angleOf = (index: number): number | undefined => {
  const round = Math.floor(index / COLOURS)
  return round === 0 ? undefined : angles[(round - 1) % angles.length]
}

/** The pattern of missing values. */
export const hatching = (id: string): Child => element('defs', {}, stripes(id, 45, 'blank', 'hatch', 0))

/** A pattern of stripes. @param at x position of the line in a tile */
const stripes = (id: string, angle: number, ground: string, line: string, at: number): Child =>
  element(
    'pattern',
    { id, width: 6, height: 6, patternUnits: 'userSpaceOnUse', patternTransform: `rotate(${angle})` },
    element('rect', { class: ground, width: 6, height: 6 }),
    element('line', { class: line, x1: at, x2: at, y1: 0, y2: 6 }),
  )
