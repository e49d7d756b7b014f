/** The drawn body of a figure, which all forms have in common, and the widths for which figures are drawn. */
import type { Child } from '../markup.ts'

/** The body of a figure, drawn between 0 and the given width. */
export interface Body {
  readonly height: number
  readonly markup: Child
  /** The picture in words, for readers who cannot see it. */
  readonly description: string
}

/**
 * Widths for which figures are drawn, in pixels: a column of a page, the text of a printed page, a telephone, and a column
 * of a printed page with two, 85 mm with its margins.
 */
export const widths = { wide: 860, paper: 640, narrow: 350, column: 313 } as const

/** Space around the figure of a column, in pixels: 313 + 2 · 4 pixels of 0.75 points are 84.9 mm. */
export const COLUMN_MARGIN = 4

/** Whether names go below the picture instead of next to it. */
export const isNarrow = (width: number): boolean => width < 560
