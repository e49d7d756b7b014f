/**
 * Colours of numbers, and their key. The sequential scale is cividis, which is perceptually uniform, and readable with
 * any colour vision and in grey. A scale that diverges from a middle goes from blue over light grey to orange, equally
 * far on both sides. Colours have discrete steps, so that cells of one colour can share a path.
 */
import { extent } from 'd3-array'
import { colourAlong, inkOn } from '../../../core/charts/colour.ts'
import { diverging, sequential } from '../../../core/charts/palette.ts'
import { distinct, linearTicks } from '../../../core/charts/ticks.ts'
import { valueLabel } from '../../../core/text/number-labels.ts'
import { type Child, element } from '../markup.ts'
import { letters } from './axes.ts'
import { textLines, textWidth, wrapText } from './text.ts'

export interface HeatColours {
  /** Range of the existing values, for the key. A diverging scale covers more. */
  readonly shown: readonly [low: number, high: number]
  of(value: number): string
  /** Colour of text on the colour of a value. */
  ink(value: number): 'dark' | 'light'
}

const STEPS = 64

/**
 * @param values usable values; there may be none
 * @param middle middle of a diverging scale; undefined for a sequential scale
 */
export function heatColours(values: readonly number[], middle: number | undefined): HeatColours {
  const diverges = middle !== undefined && Number.isFinite(middle)
  const [smallest = 0, largest = 1] = extent(diverges && values.length > 0 ? [...values, middle] : values)
  const reach = diverges ? Math.max(largest - middle, middle - smallest) : 0
  const [low, high] = diverges ? [middle - reach, middle + reach] : [smallest, largest]
  // Cells are drawn alike in both schemes.
  const stops = middle === undefined ? sequential : diverging.light
  const of = (value: number): string => {
    const share = high > low ? Math.min(1, Math.max(0, (value - low) / (high - low))) : 0.5
    return colourAlong(stops, Math.round(share * STEPS) / STEPS)
  }
  return { shown: [smallest, largest], of, ink: (value) => (inkOn(of(value)) === '#000000' ? 'dark' : 'light') }
}

/** Number of slices of the colour bar. */
const SLICES = 64

/** The key: the meaning of the values, a bar of colours with ticks, and a sample of missing values. */
export function colourBar(
  colours: HeatColours,
  label: string,
  hatch: string | undefined,
  width: number,
  top: number,
): { markup: Child; end: number } {
  const barWidth = Math.min(320, width - 40)
  const lines = wrapText(label, letters.bold, width - 4, 2)
  const left = 20
  const y = top + 6 + 16 * lines.length
  const [low, high] = colours.shown
  const span = high - low
  const at = (value: number) => left + (span > 0 ? (value - low) / span : 0.5) * barWidth
  const slice = (i: number) =>
    element('rect', {
      x: left + (i * barWidth) / SLICES,
      y,
      // A slice overlaps the next one, or hairlines would appear between them.
      width: barWidth / SLICES + (i < SLICES - 1 ? 0.5 : 0),
      height: 12,
      fill: colours.of(low + ((i + 0.5) / SLICES) * span),
    })
  const ticks = distinct(low, high)
    ? linearTicks(low, high, Math.round(barWidth / 60))
    : [{ value: low, label: valueLabel(low) }]
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
  const fitsBeside = x + 80 < width
  const [left, top] = fitsBeside ? [x, y] : [20, y + 40]
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
    end: fitsBeside ? y + 36 : y + 58,
  }
}
