/**
 * Marks of series: colour, shape and dash. Ten colours, seven shapes and five dashes, so that series differ in more than
 * colour and dozens of them are distinct.
 */
import {
  type SymbolType,
  symbolCircle,
  symbolCross,
  symbolDiamond,
  symbolSquare,
  symbolStar,
  symbolTriangle,
  symbolWye,
} from 'd3-shape'
import { COLOURS, dashes } from '../../../core/charts/palette.ts'

const shapes: readonly SymbolType[] = [
  symbolCircle,
  symbolSquare,
  symbolTriangle,
  symbolDiamond,
  symbolCross,
  symbolStar,
  symbolWye,
]

export interface Mark {
  /** Index in the palette. It is part of the classes: `s…` for strokes, `f…` for fills. */
  readonly colour: number
  readonly shape: SymbolType
  /** A value of `stroke-dasharray`; undefined for a solid line. */
  readonly dash: string | undefined
}

/** @param index number of the mark, from 0 */
export function markOf(index: number): Mark {
  // Each round of colours begins with another dash.
  const dash = dashes[(index + Math.floor(index / COLOURS)) % dashes.length] ?? []
  return {
    colour: index % COLOURS,
    shape: shapes[index % shapes.length] ?? symbolCircle,
    dash: dash.length === 0 ? undefined : dash.join(' '),
  }
}
