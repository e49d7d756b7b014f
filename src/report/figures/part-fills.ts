/**
 * How the parts of bars are filled, told apart by more than their colour once colours come round again: the
 * palette plain, then striped one way, the other way, upright and level. Parts that are neighbours in a
 * stack differ as neighbours of the palette do.
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
    turn === undefined ? undefined : striped(`${id}-${index}`, index, turn),
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

const striped = (id: string, index: number, turn: number): Child =>
  element(
    'pattern',
    { id, width: 6, height: 6, patternUnits: 'userSpaceOnUse', patternTransform: `rotate(${turn})` },
    element('rect', { class: `f${index % colours}`, width: 6, height: 6 }),
    element('line', { class: 'stripe', x1: 1, x2: 1, y1: 0, y2: 6 }),
  )
