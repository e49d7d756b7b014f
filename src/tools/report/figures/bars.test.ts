import { describe, expect, test } from 'vitest'
import { COLOURS } from '../../../core/charts/palette.ts'
import type { BarFigure } from '../blocks.ts'
import { figureNumbers } from '../page/figure-numbers.ts'
import { demoReport } from '../testing/demo-report.ts'
import { hostileBlocks } from '../testing/hostile-report.ts'
import { type ParsedElement, parseXml } from '../testing/parse-xml.ts'
import { boxOf } from '../testing/text-box.ts'
import { BAR_HEIGHT } from './bar-rows.ts'
import { widths } from './body.ts'
import { inlineSvg } from './drawing.ts'

type Rows = BarFigure['rows']

const figureOf = (rows: Rows, parts: readonly string[], limit?: number): BarFigure => ({
  kind: 'figure',
  form: 'bars',
  id: 'b',
  caption: '',
  x: { label: 'memory (GB)', scale: 'linear' },
  parts,
  rows,
  ...(limit === undefined ? {} : { limit: { value: limit, label: 'the device' } }),
})

const rowsOf = (...values: readonly (readonly number[])[]): Rows =>
  values.map((row, i) => ({ label: `r${i}`, values: row }))

interface Shape {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly fill: string
}

interface DrawnBars {
  readonly all: readonly ParsedElement[]
  /** Parts of bars by row, from top to bottom. */
  readonly bars: readonly (readonly Shape[])[]
  /** Swatches of the legend. */
  readonly swatches: readonly Shape[]
  readonly excess: readonly Shape[]
  readonly texts: readonly string[]
}

function drawn(figure: BarFigure, width: number = widths.wide): DrawnBars {
  const all = parseXml(inlineSvg(figure, 'f', width).text)
  const shapes = (matches: (element: ParsedElement) => boolean) =>
    all
      .filter((element) => element.name === 'rect' && matches(element))
      .map(({ attributes }) => ({
        x: Number(attributes.x),
        y: Number(attributes.y),
        width: Number(attributes.width),
        fill: attributes.fill ?? attributes.class ?? '',
      }))
  const isPart = ({ attributes }: ParsedElement) => attributes.class?.split(' ')[0] === 'part'
  const parts = shapes((element) => isPart(element) && element.parents.includes('g'))
  const heights = [...new Set(parts.map(({ y }) => y))]
  return {
    all,
    bars: heights.map((y) => parts.filter((part) => part.y === y)),
    swatches: shapes((element) => isPart(element) && !element.parents.includes('g')),
    excess: shapes(({ attributes }) => attributes.class === 'excess'),
    texts: all.filter(({ name }) => name === 'text').map(({ text }) => text),
  }
}

test('parts are stacked from zero, with lengths in proportion to their values, and a gap between them', () => {
  const { bars } = drawn(figureOf(rowsOf([1, 2, 3], [6, 1, 1]), ['a', 'b', 'c']))
  const [first = [], second = []] = bars
  const [a, b, c] = first.map(({ x }) => x) as [number, number, number]
  expect((c - b) / (b - a)).toBeCloseTo(2, 3)
  const unit = b - a
  for (const [i, value] of [1, 2, 3].entries()) expect(first[i]?.width).toBeCloseTo(value * unit - 1, 1)
  expect(second.map(({ x }) => x)).toEqual([a, expect.closeTo(a + 6 * unit, 1), expect.closeTo(a + 7 * unit, 1)])
})

test('a part looks the same in every row and in the legend, and a part of zero is not drawn', () => {
  const { bars, swatches } = drawn(figureOf(rowsOf([1, 2, 3], [1, 0, 3]), ['a', 'b', 'c']))
  const fills = (shapes: readonly Shape[] | undefined) => shapes?.map(({ fill }) => fill)
  expect(fills(bars[0])).toEqual(fills(swatches))
  expect(fills(bars[1])).toEqual([swatches[0]?.fill, swatches[2]?.fill])
})

test.each([10, 12, 50])('%i parts look different from each other', (count) => {
  const parts = Array.from({ length: count }, (_, i) => `part ${i}`)
  const { all, swatches } = drawn(figureOf(rowsOf(parts.map(() => 1)), parts))
  expect(new Set(swatches.map(({ fill }) => fill)).size).toBe(count)
  // Parts beyond the palette refer to existing patterns.
  const ids = all.filter(({ name }) => name === 'pattern').map(({ attributes }) => `url(#${attributes.id})`)
  expect(swatches.map(({ fill }) => fill).filter((fill) => fill.startsWith('url'))).toEqual(ids)
  expect(ids).toHaveLength(count - COLOURS)
})

test('every part has a tooltip with its row, name and value', () => {
  const titles = parseXml(inlineSvg(figureOf(rowsOf([1.25, 0], [7, 8]), ['a', 'b']), 'f', widths.wide).text)
    .filter(({ name, parents }) => name === 'title' && parents.includes('g'))
    .map(({ text }) => text)
  expect(titles).toEqual(['r0, a: 1.25', 'r1, a: 7', 'r1, b: 8'])
})

describe('a limit', () => {
  test('is a named line, and a bar beyond it has a frame around the excess and reports its size', () => {
    const { all, bars, excess, texts } = drawn(figureOf(rowsOf([40, 20], [60, 50]), ['a', 'b'], 80))
    expect(texts).toEqual(expect.arrayContaining(['the device', '60.0', '110.0, over by 30.0']))
    expect(excess).toHaveLength(1)
    const start = bars[1]?.[0]?.x ?? Number.NaN
    const unit = ((bars[1]?.[1]?.x ?? Number.NaN) - start) / 60
    expect(excess[0]?.x).toBeCloseTo(start + 80 * unit, 1)
    expect(all.find(({ attributes }) => attributes.class === 'limit')?.attributes.d).toContain(`M${excess[0]?.x} `)
  })

  test('is not exceeded by rounding errors', () => {
    expect(0.1 + 0.2).toBeGreaterThan(0.3)
    expect(drawn(figureOf(rowsOf([0.1, 0.2]), ['a', 'b'], 0.3)).excess).toEqual([])
  })

  test.each([Number.NaN, Number.POSITIVE_INFINITY, -1])('of %s is omitted with a note', (limit) => {
    const { all, texts } = drawn(figureOf(rowsOf([1]), ['a'], limit))
    expect(all.filter(({ attributes }) => /^limit/.test(attributes.class ?? ''))).toEqual([])
    expect(texts).toContain('The limit is left out: negative or not finite.')
  })
})

test.each([-1, Number.NaN, Number.POSITIVE_INFINITY, 1e308])(
  'a value of %s is not drawn, but counted, and makes the total of its row unknown',
  (value) => {
    const { bars, texts } = drawn(figureOf(rowsOf([1, value, 2], [1, 1, 1]), ['a', 'b', 'c']))
    expect(bars[0]).toHaveLength(2)
    expect(texts).toEqual(expect.arrayContaining(['3.00 + ?', '3.00']))
    expect(texts).toContain('1 value is left out: negative, not finite, or without a part.')
  },
)

test('missing values and values without a part are counted too', () => {
  const { texts } = drawn(figureOf(rowsOf([1], [1, 2, 3]), ['a', 'b']))
  expect(texts).toContain('2 values are left out: negative, not finite, or without a part.')
})

test('bars of zeros have totals of zero', () => {
  const { bars, texts } = drawn(figureOf(rowsOf([0, 0], [0, -0]), ['a', 'b']))
  expect(bars).toEqual([])
  expect(texts.slice(-2)).toEqual(['0', '0'])
  expect(texts.some((text) => text.includes('−'))).toBe(false)
})

const many = [...demoReport.sections.flatMap(({ blocks }) => blocks), ...hostileBlocks].filter(
  (block): block is BarFigure => block.kind === 'figure' && block.form === 'bars',
)

describe.each(many.flatMap((figure, i) => Object.values(widths).map((width) => ({ i, id: figure.id, figure, width }))))(
  'bars $i $id at $width',
  ({ figure, width }) => {
    const { all, bars, excess } = drawn(figure, width)
    const texts = all.filter(({ name, text }) => name === 'text' && text !== '')

    test('no texts overlap', () => {
      const boxes = texts.map((text) => ({ text: text.text, box: boxOf(text) }))
      for (const [i, a] of boxes.entries()) {
        for (const b of boxes.slice(i + 1)) {
          const [wide, high] = [0, 1].map(
            (side) =>
              Math.min(a.box[side + 2] ?? 0, b.box[side + 2] ?? 0) - Math.max(a.box[side] ?? 0, b.box[side] ?? 0),
          ) as [number, number]
          expect(wide > 0.5 && high > 0.5, `${a.text} on ${b.text}`).toBe(false)
        }
      }
    })

    test('bars end inside the figure, no text covers a bar, and no total covers the line of the limit', () => {
      const path = all.find(({ attributes }) => attributes.class === 'limit')?.attributes.d
      const line = Number(path?.match(/^M([\d.]+)/)?.[1])
      const shapes = [...bars.flat(), ...excess]
      for (const shape of shapes) expect(shape.x + shape.width).toBeLessThanOrEqual(width)
      for (const element of texts) {
        const [left, top, right, bottom] = boxOf(element)
        const covers = shapes.some(
          ({ x, y, width: length }) => left < x + length && right > x && top < y + BAR_HEIGHT - 1 && bottom > y + 1,
        )
        expect(covers, `${element.text} on a bar`).toBe(false)
        const isTotal = /^small halo( over)?$/.test(element.attributes.class ?? '')
        expect(isTotal && left < line && right > line, `${element.text} on the limit`).toBe(false)
      }
    })
  },
)

test.each([widths.wide, widths.narrow])('names of layouts are not cut at %i, and are broken at a dot', (width) => {
  const labels = ['480', '4096'].map((count) => `expert ${count} · data ${count} · ZeRO 1 · recompute full`)
  const rows = labels.map((label) => ({ label, values: [60, 50] }))
  const { texts } = drawn(figureOf(rows, ['a', 'b'], 80), width)
  expect(texts).toContain(labels[0])
  const long = labels.map((label) => `${label} and offload`)
  const broken = drawn(figureOf([{ label: long[1] ?? '', values: [60, 50] }], ['a', 'b'], 80), width).texts
  expect(broken.join('\n')).toContain('expert 4096 · data 4096 · ZeRO 1 ·\nrecompute full and offload')
})

test.each(Object.values(widths))('a note under a short name is not cut at %i', (width) => {
  const note = 'does not fit: ten layers on each device, without recomputing'
  const { texts } = drawn(figureOf([{ label: 'dense', values: [60, 50], note }], ['a', 'b'], 80), width)
  expect(texts.join(' ')).toContain(note)
})

test('the table of numbers has every value, totals, notes and the limit', () => {
  const rows = [
    { label: 'r0', values: [60, 50], note: 'too much' },
    { label: 'r1', values: [1, Number.NaN] },
  ]
  const { columns, rows: cells } = figureNumbers(figureOf(rows, ['a', 'b'], 80))
  expect(columns.map(({ title }) => title)).toEqual(['Row', 'Total: memory (GB)', 'a', 'b', 'Note'])
  expect(cells).toEqual([
    ['r0', '110.0, over by 30.0', '60', '50', 'too much'],
    ['r1', '1.0 + ?', '1', '–', ''],
    ['the device', '80', '', '', ''],
  ])
})

test('the description contains the parts, the limit and the total of every bar', () => {
  const { all } = drawn(figureOf(rowsOf([40, 20], [60, 50]), ['a', 'b'], 80))
  expect(all.find(({ name }) => name === 'desc')?.text).toBe(
    'Stacked bars of memory (GB) (a, b), with a line at 80: the device. r0: 60.0; r1: 110.0, over by 30.0.',
  )
})
