/** What all forms of figures agree on. */
import type { Child } from '../markup.ts'

/** What a form draws, from 0 to the width it was given. */
export interface Body {
  readonly height: number
  readonly markup: Child
  /** The picture in words, for those who cannot see it. */
  readonly description: string
}

/** Widths that figures are drawn for, in pixels: a column of a page, and a telephone. */
export const widths = { wide: 860, narrow: 350 } as const

/** Whether names go below the picture instead of beside it. */
export const isNarrow = (width: number): boolean => width < 560
