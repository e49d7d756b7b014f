/**
 * Fills that are patterns: hatching for missing values, and stripes for parts of bars once the colours of the
 * palette come round again, one way, the other way, upright and level. So parts differ in more than colour,
 * and neighbours in a stack differ as neighbours of the palette do.
 */
import { type Attributes, type Child, element } from '../markup.ts'
import { categorical } from './palette.ts'

const colours = categorical.light.length
/** Directions of stripes in degrees, for the second round of colours and the following. */
const turns = [45, -45, 0, 90] as const

export interface PartFills {
  /** Patterns that fills refer to. */
  readonly markup: Child
  /** Attributes of a shape of a part. */
  of(index: number): Attributes
}

/** @param id unique in the document; begins the ids of patterns */
export function partFills(count: number, id: string): PartFills {
  const all = Array.from({ length: count }, (_, index) => ({ index, turn: turnOf(index) }))
  const patterns = all.map(({ index, turn }) =>
    turn === undefined ? undefined : stripes(`${id}-${index}`, turn, `f${index % colours}`, 'stripe', 1),
  )
  return {
    markup: count > colours ? element('defs', {}, patterns) : undefined,
    of: (index) =>
      turnOf(index) === undefined
        ? { class: `part f${index % colours}` }
        : { class: 'part', fill: `url(#${id}-${index})` },
  }
}

const turnOf = (index: number): number | undefined => {
  const round = Math.floor(index / colours)
  return round === 0 ? undefined : turns[(round - 1) % turns.length]
}

/** Of missing values. */
export const hatching = (id: string): Child => element('defs', {}, stripes(id, 45, 'blank', 'hatch', 0))

/** @param at place of the line in a tile */
const stripes = (id: string, turn: number, ground: string, line: string, at: number): Child =>
  element(
    'pattern',
    { id, width: 6, height: 6, patternUnits: 'userSpaceOnUse', patternTransform: `rotate(${turn})` },
    element('rect', { class: ground, width: 6, height: 6 }),
    element('line', { class: line, x1: at, x2: at, y1: 0, y2: 6 }),
  )
