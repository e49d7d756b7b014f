/**
 * Colours of numbers, and the key that explains them. One way: cividis, whose steps look equal and which reads the same with every kind of
 * colour vision and in grey. Both ways from a middle: blue and orange around a light grey, equally far on both
 * sides. Numbers are drawn in steps, so that cells of a colour can share a path.
 */
import { extent } from 'd3-array'
import { type Child, element } from '../markup.ts'
import { letters } from './axes.ts'
import { valueLabel } from './numerals.ts'
import { luminance, mixed } from './palette.ts'
import { apart, linearTicks } from './scale.ts'
import { textLines, textWidth, wrapped } from './text.ts'

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

const STEPS = 64

/** @param values usable ones; may be none */
export function heatColours(values: readonly number[], middle: number | undefined): HeatColours {
  const both = middle !== undefined && Number.isFinite(middle)
  const [least = 0, greatest = 1] = extent(both && values.length > 0 ? [...values, middle] : values)
  const reach = both ? Math.max(greatest - middle, middle - least) : 0
  const [low, high] = both ? [middle - reach, middle + reach] : [least, greatest]
  const table = middle === undefined ? sequential : diverging
  const of = (value: number): string => {
    const share = high > low ? Math.min(1, Math.max(0, (value - low) / (high - low))) : 0.5
    const place = (Math.round(share * STEPS) / STEPS) * (table.length - 1)
    const from = Math.min(Math.floor(place), table.length - 2)
    return mixed(table[from] ?? table[0], table[from + 1] ?? table[0], place - from)
  }
  return { shown: [least, greatest], of, ink: (value) => (luminance(of(value)) > 0.179 ? 'dark' : 'light') }
}

/** Of the bar in the key. */
const SLICES = 64

/** What is shown, a bar of its colours with ticks, and how a missing value looks. */
export function colourBar(
  colours: HeatColours,
  label: string,
  hatch: string | undefined,
  width: number,
  top: number,
): { markup: Child; end: number } {
  const barWidth = Math.min(320, width - 40)
  const lines = wrapped(label, letters.bold, width - 4, 2)
  const left = 20
  const y = top + 6 + 16 * lines.length
  const [low, high] = colours.shown
  const span = high - low
  const at = (value: number) => left + (span > 0 ? (value - low) / span : 0.5) * barWidth
  const slice = (i: number) =>
    element('rect', {
      x: left + (i * barWidth) / SLICES,
      y,
      // A little over the next, or hairlines would show between them.
      width: barWidth / SLICES + (i < SLICES - 1 ? 0.5 : 0),
      height: 12,
      fill: colours.of(low + ((i + 0.5) / SLICES) * span),
    })
  const even = apart(low, high)
  const ticks = even ? linearTicks([low, high], Math.round(barWidth / 60)) : [{ value: low, label: valueLabel(low) }]
  const key = missingKey(hatch, left + barWidth + 40, y, width)
  return {
    markup: [
      textLines(lines, { class: 'label', x: 2, y: top + 12 }, 16),
      Array.from({ length: SLICES }, (_, i) => slice(i)),
      element('rect', { class: 'frame', x: left, y, width: barWidth, height: 12 }),
      ticks.map(({ value, label: text }) => {
        const x = at(value)
        const half = textWidth(text, letters.small) / 2
        return [
          element('line', { class: 'axis', x1: x, x2: x, y1: y + 12, y2: y + 17 }),
          element(
            'text',
            {
              class: 'small',
              x: Math.max(half + 1, Math.min(x, width - half - 1)),
              y: y + 29,
              'text-anchor': 'middle',
            },
            text,
          ),
        ]
      }),
      key.markup,
    ],
    end: key.end + 4,
  }
}

function missingKey(hatch: string | undefined, x: number, y: number, width: number): { markup: Child; end: number } {
  if (hatch === undefined) return { markup: undefined, end: y + 36 }
  const beside = x + 80 < width
  const [left, top] = beside ? [x, y] : [20, y + 40]
  return {
    markup: [
      element('rect', {
        class: 'missing',
        x: left,
        y: top,
        width: 20,
        height: 12,
        fill: `url(#${hatch})`,
      }),
      element('text', { class: 'small', x: left + 26, y: top + 10 }, 'no value'),
    ],
    end: beside ? y + 36 : y + 58,
  }
}
