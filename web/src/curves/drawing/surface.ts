/**
 * What curves are drawn on: a canvas on the page and for PNG, text for SVG. Both draw the same, so that what is
 * downloaded is what was seen. Coordinates are pixels of the surface, from its upper left corner.
 */
export interface Stroke {
  readonly color: string
  readonly width: number
  readonly dash?: readonly number[]
  readonly opacity?: number
}

export interface Letters {
  readonly color: string
  readonly size: number
  readonly anchor: 'start' | 'middle' | 'end'
  readonly bold?: boolean
  /** Reads upwards. */
  readonly upward?: boolean
}

export interface Box {
  readonly left: number
  readonly top: number
  readonly width: number
  readonly height: number
}

export interface Surface {
  /** Points as x, y, x, y… A single point is a dot. */
  line(points: readonly number[], stroke: Stroke): void
  area(points: readonly number[], color: string, opacity: number): void
  box(box: Box, color: string): void
  /** The text stands on y. */
  text(text: string, x: number, y: number, letters: Letters): void
  /** What `draw` draws is seen only within the box. */
  within(box: Box, draw: () => void): void
}

export const fontFamily = 'system-ui, -apple-system, "Segoe UI", sans-serif'
