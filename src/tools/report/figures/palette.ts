/**
 * Colours, marks and dashes of series. Eight colours, seven marks and five dashes repeat independently, so that
 * series differ in more than colour and dozens of them are distinct.
 *
 * The colours follow Okabe and Ito (2008), adjusted until each has a contrast of at least 3:1 to its background
 * (WCAG) and protanopes and deuteranopes can distinguish neighbours. The tests compute both.
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

export type Scheme = 'light' | 'dark'

/** Colours of series by scheme: blue, vermilion, green, violet, sky, orange, pink and the colour of text. */
export const categorical: Readonly<Record<Scheme, readonly string[]>> = {
  light: ['#006ab3', '#c24f0c', '#008678', '#563a93', '#3c93df', '#c77d00', '#c26fac', '#24292f'],
  dark: ['#3c7ae0', '#f17329', '#1cb08f', '#a18ef0', '#8ecffb', '#e6b422', '#e690c6', '#eaedf3'],
}

/** Background of figures. */
export const surface: Readonly<Record<Scheme, string>> = { light: '#ffffff', dark: '#0d1117' }

const shapes: readonly SymbolType[] = [
  symbolCircle,
  symbolSquare,
  symbolTriangle,
  symbolDiamond,
  symbolCross,
  symbolStar,
  symbolWye,
]

const dashes = [undefined, '7 4', '2 3', '10 3 2 3', '15 4'] as const

export interface Mark {
  /** Index in the palette. It is part of the classes: `s…` for strokes, `f…` for fills. */
  readonly colour: number
  readonly shape: SymbolType
  readonly dash: string | undefined
}

/** @param index index of the series, from 0 */
export function markOf(index: number): Mark {
  return {
    colour: index % categorical.light.length,
    shape: shapes[index % shapes.length] ?? symbolCircle,
    dash: dashes[index % dashes.length],
  }
}

const channels = (colour: string): [number, number, number] => [
  Number.parseInt(colour.slice(1, 3), 16),
  Number.parseInt(colour.slice(3, 5), 16),
  Number.parseInt(colour.slice(5, 7), 16),
]

/** Mixes two colours in sRGB, which suffices for neighbours of a palette. */
export function mixColours(from: string, to: string, share: number): string {
  const [a, b] = [channels(from), channels(to)]
  const mix = a.map((value, i) => Math.round(value + ((b[i] ?? value) - value) * share))
  return `#${mix.map((value) => value.toString(16).padStart(2, '0')).join('')}`
}

/** Linear red, green and blue of a colour, from 0 to 1. */
export function linearOf(colour: string): [number, number, number] {
  const linear = (value: number) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
  const [red, green, blue] = channels(colour)
  return [linear(red / 255), linear(green / 255), linear(blue / 255)]
}

/** Relative luminance of a colour as defined by WCAG 2. */
export function luminance(colour: string): number {
  const [red, green, blue] = linearOf(colour)
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}
