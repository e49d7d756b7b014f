/**
 * Colours of numbers. One way: cividis, whose steps look equal and which reads the same with every kind of
 * colour vision and in grey. Both ways from a middle: blue and orange around a light grey, equally far on both
 * sides. Numbers are drawn in steps, so that cells of a colour can share a path.
 */
import { luminance, mixed } from './palette.ts'

export interface HeatColours {
  /** The values that there are, for the key: both ways from a middle the colours reach further. */
  readonly shown: readonly [low: number, high: number]
  of(value: number): string
  /** What is written on the colour. */
  ink(value: number): 'dark' | 'light'
}

/** Cividis (Nuñez, Anderton and Renslow 2018) at eighths. */
const sequential = [
  '#00224e',
  '#1a386f',
  '#434e6c',
  '#61656f',
  '#7d7c78',
  '#9b9476',
  '#bcae6c',
  '#dec958',
  '#fee838',
] as const
/** Blue over light grey to orange-brown; lightness falls alike on both sides. */
const diverging = [
  '#0b3c6f',
  '#1f66a8',
  '#5b9bd0',
  '#a9cbe6',
  '#eeeeec',
  '#f3c797',
  '#dd9247',
  '#b3600f',
  '#733700',
] as const

const steps = 64

/** @param values usable ones; may be none */
export function heatColours(values: readonly number[], middle: number | undefined): HeatColours {
  const [low, high] = rangeOf(values, middle)
  const table = middle === undefined ? sequential : diverging
  const of = (value: number): string => {
    const share = high > low ? Math.min(1, Math.max(0, (value - low) / (high - low))) : 0.5
    const place = (Math.round(share * steps) / steps) * (table.length - 1)
    const from = Math.min(Math.floor(place), table.length - 2)
    return mixed(table[from] ?? table[0], table[from + 1] ?? table[0], place - from)
  }
  return { shown: extent(values, middle), of, ink: (value) => (luminance(of(value)) > 0.179 ? 'dark' : 'light') }
}

/** From the smallest to the largest, the middle included. */
function extent(values: readonly number[], middle: number | undefined): [number, number] {
  if (values.length === 0) return [0, 1]
  const all = middle !== undefined && Number.isFinite(middle) ? [...values, middle] : values
  return [all.reduce((a, b) => Math.min(a, b)), all.reduce((a, b) => Math.max(a, b))]
}

function rangeOf(values: readonly number[], middle: number | undefined): [number, number] {
  if (values.length === 0) return [0, 1]
  const [low, high] = extent(values, middle)
  if (middle === undefined || !Number.isFinite(middle)) return [low, high]
  const reach = Math.max(Math.abs(high - middle), Math.abs(low - middle))
  return [middle - reach, middle + reach]
}
