/** The places and the look of the cells of a frame. */
import type { Axis } from './axis.ts'

export interface Pixels {
  readonly across: Axis
  readonly down: Axis
  /** Pixels of the screen per pixel of the page. */
  readonly ratio: number
  readonly dark: boolean
  /** Load over mean at the end of the scale of colours. */
  readonly end: number
}
