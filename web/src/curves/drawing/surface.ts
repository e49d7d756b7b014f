/**
 * A surface to draw curves on: a canvas on the page and for PNG, text for SVG. Both draw the same, so that a download
 * looks like the page. Coordinates are pixels of the surface, from its upper left corner.
 */
export interface Stroke {
  readonly color: string
  readonly width: number
  readonly dash?: readonly number[]
  readonly opacity?: number
}

export interface TextStyle {
  readonly color: string
  readonly size: number
  readonly anchor: 'start' | 'middle' | 'end'
  readonly bold?: boolean
  /** Whether the text is rotated to read upwards. */
  readonly upward?: boolean
}

export interface Box {
  readonly left: number
  readonly top: number
  readonly width: number
  readonly height: number
}

export interface Surface {
  /** Draws a line through points x, y, x, y… A single point becomes a dot. */
  line(points: readonly number[], stroke: Stroke): void
  area(points: readonly number[], color: string, opacity: number): void
  box(box: Box, color: string): void
  /** Draws a text whose baseline is `y`. */
  text(text: string, x: number, y: number, style: TextStyle): void
  /** Clips the output of `draw` to the box. */
  clipTo(box: Box, draw: () => void): void
}

export const fontFamily = 'system-ui, -apple-system, "Segoe UI", sans-serif'
