/** The drawn body of a figure, common to all forms, and the widths that figures are drawn for. */
import type { Child } from '../markup.ts'

/** Drawn between 0 and the given width. */
export interface Body {
  readonly height: number
  readonly markup: Child
  /** The picture in words, for readers who cannot see it. */
  readonly description: string
}

/** Widths that figures are drawn for, in pixels: a column of a page, and a telephone. */
export const widths = { wide: 860, narrow: 350 } as const

/** Whether names go below the picture instead of next to it. */
export const isNarrow = (width: number): boolean => width < 560
