/** The drawn body of a figure, which all forms have in common, and the widths for which figures are drawn. */
import type { Child } from '../markup.ts'

/** The body of a figure, drawn between 0 and the given width. */
export interface Body {
  readonly height: number
  readonly markup: Child
  /** The picture in words, for readers who cannot see it. */
  readonly description: string
}

/** Widths for which figures are drawn, in pixels: a column of a page, the text of a printed page, and a telephone. */
export const widths = { wide: 860, paper: 640, narrow: 350 } as const

/** Whether names go below the picture instead of next to it. */
export const isNarrow = (width: number): boolean => width < 560
