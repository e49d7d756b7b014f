/** @slow */
import { describe, expect, test } from 'vitest'
import type { Block, Figure } from '../blocks.ts'
import { demoReport } from '../testing/demo-report.ts'
import { hostileBlocks } from '../testing/hostile-report.ts'
import { parseXml } from '../testing/parse-xml.ts'
import { boxOf } from '../testing/text-box.ts'
import { widths } from './body.ts'
import { inlineSvg, standaloneSvg } from './drawing.ts'
import { markOf } from './marks.ts'

const isFigure = (block: Block): block is Figure => block.kind === 'figure'
const demo = demoReport.sections.flatMap(({ blocks }) => blocks).filter(isFigure)
const hostile = hostileBlocks.filter(isFigure)
const cases = [...demo, ...hostile].flatMap((figure, i) =>
  Object.values(widths).map((width) => ({ title: `${i} ${figure.form} ${figure.id} at ${width}`, figure, width })),
)

describe.each(cases)('$title', ({ figure, width }) => {
  const svg = inlineSvg(figure, 'f', width).text
  const elements = parseXml(svg)

  test('is well-formed, and every number in it is finite', () => {
    expect(svg).not.toMatch(/NaN|Infinity|undefined|\[object/)
    for (const { attributes } of elements) {
      for (const key of ['x', 'y', 'x1', 'x2', 'y1', 'y2', 'cx', 'cy', 'r', 'width', 'height'] as const) {
        const value = attributes[key]
        if (value !== undefined) expect(Number.isFinite(Number(value)), `${key}=${value}`).toBe(true)
      }
    }
  })

  test('is an image with a name and a description', () => {
    const [root] = elements
    expect(root?.attributes).toMatchObject({ role: 'img', 'aria-labelledby': 'f-title', 'aria-describedby': 'f-desc' })
    expect(elements.find(({ attributes }) => attributes.id === 'f-desc')?.text).not.toBe('')
    const ids = elements.map(({ attributes }) => attributes.id).filter((id) => id !== undefined)
    expect(new Set(ids).size).toBe(ids.length)
  })

  test('has every text inside its edges', () => {
    const [, , right = 0, bottom = 0] = (elements[0]?.attributes.viewBox ?? '').split(' ').map(Number)
    for (const element of elements.filter(({ name }) => name === 'text')) {
      const box = boxOf(element)
      const inside = box[0] >= -1 && box[1] >= -1 && box[2] <= right + 1 && box[3] <= bottom + 1
      expect(inside, `${element.text} at ${box.map(Math.round).join(' ')} of ${right} ${bottom}`).toBe(true)
    }
  })

  test('is reproducible', () => {
    expect(inlineSvg(figure, 'f', width).text).toBe(svg)
  })
})

test.each(
  hostile.filter(({ id }) =>
    ['nothing', 'none', 'no-rows', 'no-zero', 'numberless', 'without-cells', 'no-bars', 'no-values'].includes(id),
  ),
)('without numbers, $form $id shows "no data yet"', (figure) => {
  expect(inlineSvg(figure, 'f', widths.wide).text).toContain('no data yet')
})

test('points without a position are counted', () => {
  const figure = hostile.find(({ form, id }) => form === 'scatter' && id === 'none')
  expect(figure && inlineSvg(figure, 'f', widths.wide).text).toContain('1 point is left out')
})

test.each(Object.values(widths))(
  'a series with a mark has its colour and dash in every part of a figure %i wide',
  (width) => {
    const x = Array.from({ length: 40 }, (_, i) => i)
    const falling = (end: number) => x.map((step) => end + 9 * 0.7 ** step)
    const series = [
      { name: 'a', x, y: falling(1), mark: 12 },
      { name: 'b', x, y: falling(1.1), mark: 3 },
    ]
    const axis = { label: 'x', scale: 'linear' } as const
    const figure: Figure = { kind: 'figure', form: 'lines', id: 'marks', caption: 'marks', x: axis, y: axis, series }
    const lines = parseXml(inlineSvg(figure, 'f', width).text).filter(({ attributes }) =>
      /^line\b/.test(attributes.class ?? ''),
    )
    const looks = lines.map(({ attributes }) => `${attributes.class} ${attributes['stroke-dasharray']}`)
    // Each has a line in the whole, a line in the detail, and a sample.
    const [a, b] = [12, 3].map((mark) => `line s${markOf(mark).colour} ${markOf(mark).dash}`)
    expect(looks.toSorted()).toEqual([a, a, a, b, b, b].toSorted())
  },
)

test('names of a forest plot are whole in a column of a paper, above their numbers where both do not fit', () => {
  const row = (label: string) => ({ label, mean: -0.032, low: -0.073, high: 0.008, values: [-0.03, -0.02] })
  const drawn = (...labels: string[]) => {
    const figure: Figure = {
      ...{ kind: 'figure', form: 'intervals', id: 'forest', caption: 'forest', zero: 0, sides: ['better', 'worse'] },
      x: { label: 'loss', scale: 'linear' },
      rows: labels.map(row),
    }
    const texts = parseXml(inlineSvg(figure, 'f', widths.column).text).filter(({ name }) => name === 'text')
    const at = (start: string) => texts.find(({ text }) => text.startsWith(start))?.attributes.y
    return { texts: texts.map(({ text }) => text), name: Number(at('top')), numbers: Number(at('−0.03')) }
  }
  const long = drawn('top-2 against top-2 1x, experts in attention', 'top-1')
  expect(long.texts).toContain('top-2 against top-2 1x, experts in attention')
  expect(long.numbers - long.name).toBe(16)
  const short = drawn('top-1')
  expect(short.numbers).toBe(short.name)
})

test('the axis of a forest plot is broken, and marked, before a row that would hide the others', () => {
  const row = (label: string, mean: number) => ({ label, mean, low: mean - 0.01, high: mean + 0.01, values: [mean] })
  const drawn = (means: readonly number[]) => {
    const figure: Figure = {
      ...{ kind: 'figure', form: 'intervals', id: 'forest', caption: 'forest', zero: 0, sides: ['better', 'worse'] },
      x: { label: 'loss', scale: 'linear' },
      rows: means.map((mean) => row(`${mean}`, mean)),
    }
    const elements = parseXml(inlineSvg(figure, 'f', widths.wide).text)
    const at = elements.filter(({ name }) => name === 'circle').map(({ attributes }) => Number(attributes.cx))
    return { at, elements, marked: elements.filter(({ attributes }) => attributes.class === 'break').length }
  }
  const whole = drawn([0.02, 0.04, 0.06])
  const broken = drawn([0.02, 0.04, 1])
  expect([whole.marked, broken.marked]).toEqual([0, 1])
  const apart = ({ at }: typeof whole) => (at[1] ?? 0) - (at[0] ?? 0)
  expect(apart(broken)).toBeGreaterThan(apart(whole) / 2)
  expect(broken.elements.some(({ text }) => text.startsWith('The axis is broken at //'))).toBe(true)
})

test.each([null, Number.NaN])('a line without a value (%s) is interrupted there', (gap) => {
  const x = [0, 1, 2, 3, 4]
  const series = [{ name: 'a', x, y: [1, 2, gap, 3, 4] }]
  const axis = { label: 'x', scale: 'linear' } as const
  const figure: Figure = { kind: 'figure', form: 'lines', id: 'gap', caption: 'gap', x: axis, y: axis, series }
  const { text } = inlineSvg(figure, 'f', widths.wide)
  const [line] = parseXml(text).filter(({ attributes }) => attributes.class === 'line s0')
  expect(line?.attributes.d?.match(/M/g)).toHaveLength(2)
  // NaN is an omitted value and counted; null is a gap.
  expect(text.includes('left out')).toBe(gap !== null)
})

test('missing values are hatched and every other cell has the colour of its value', () => {
  const panels = [{ title: '', columns: ['a', 'b'], rows: ['r'], values: [[1, null]] }]
  const figure: Figure = {
    kind: 'figure',
    form: 'heat',
    id: 'h',
    caption: '',
    xLabel: 'x',
    yLabel: 'y',
    valueLabel: 'v',
    panels,
  }
  const fills = parseXml(inlineSvg(figure, 'f', widths.wide).text)
    .filter(({ attributes }) => attributes.class === 'cells')
    .map(({ attributes }) => attributes.fill)
  expect(fills).toEqual([expect.stringMatching(/^#/), 'url(#f-hatch)'])
})

test('a matrix with more values than a call can have arguments is drawn', () => {
  const names = Array.from({ length: 400 }, (_, i) => `${i}`)
  const values = names.map((_, r) => names.map((_, c) => r * c))
  const panels = [{ title: '', columns: names, rows: names, values }]
  const axes = { xLabel: 'x', yLabel: 'y', valueLabel: 'v' }
  const figure: Figure = { kind: 'figure', form: 'heat', id: 'h', caption: '', ...axes, panels }
  const cells = parseXml(inlineSvg(figure, 'f', widths.wide).text).flatMap(({ attributes }) =>
    attributes.class === 'cells' ? (attributes.d?.match(/M/g) ?? []) : [],
  )
  expect(cells).toHaveLength(400 * 400)
})

test('curves that differ little in the later half are enlarged there, and other curves are not', () => {
  const axis = { label: 'x', scale: 'linear' } as const
  const x = Array.from({ length: 40 }, (_, i) => i)
  const draw = (y: (i: number) => number) => {
    const series = ['a', 'b'].map((name, n) => ({ name, x, y: x.map((i) => y(i) + n / 100) }))
    const figure: Figure = { kind: 'figure', form: 'lines', id: 'l', caption: '', x: axis, y: axis, series }
    return inlineSvg(figure, 'f', widths.wide).text
  }
  expect(draw((i) => Math.exp(-i / 3))).toContain('the later half, enlarged')
  expect(draw((i) => i)).not.toContain('enlarged')
})

test('a separate file has its own style, background and namespace', () => {
  for (const figure of demo) {
    const [root, ...rest] = parseXml(standaloneSvg(figure, 'f'))
    expect(root?.attributes.xmlns).toBe('http://www.w3.org/2000/svg')
    expect(rest.find(({ name }) => name === 'style')?.text).toContain('prefers-color-scheme: dark')
    expect(rest.some(({ attributes }) => attributes.class === 'back')).toBe(true)
  }
})
