/** The key of a heat map: what is shown, a bar of its colours with ticks, and how a missing value looks. */
import { type Child, element } from '../markup.ts'
import { letters } from './axes.ts'
import type { HeatColours } from './heat-colours.ts'
import { valueLabel } from './numerals.ts'
import { apart, linearTicks } from './scale.ts'
import { textWidth, wrapped } from './text.ts'

const slices = 64

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
      x: left + (i * barWidth) / slices,
      y,
      // A little over the next, or hairlines would show between them.
      width: barWidth / slices + (i < slices - 1 ? 0.5 : 0),
      height: 12,
      fill: colours.of(low + ((i + 0.5) / slices) * span),
    })
  const even = apart(low, high)
  const ticks = even ? linearTicks([low, high], Math.round(barWidth / 60)) : [{ value: low, label: valueLabel(low) }]
  const key = missingKey(hatch, left + barWidth + 40, y, width)
  return {
    markup: [
      lines.map((line, i) => element('text', { class: 'label', x: 2, y: top + 12 + 16 * i }, line)),
      Array.from({ length: slices }, (_, i) => slice(i)),
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
