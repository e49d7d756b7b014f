/** Figures as PDF: their text is text, with true minus signs, and their marks are drawn in the colours of the style. @slow */
import { expect, test } from 'vitest'
import type { Figure } from '../../report/blocks.ts'
import { standaloneSvg } from '../../report/figures/drawing.ts'
import { figureStyle } from '../../report/figures/style.ts'
import { demoReport } from '../../report/testing/demo-report.ts'
import { hostileReport } from '../../report/testing/hostile-report.ts'
import { readPdf } from '../testing/pdf-text.ts'
import { openFigurePdf } from './figure-pdf.ts'
import { elementsOf } from './svg-elements.ts'
import { rulesOf, styleOf } from './svg-style.ts'

const figuresOf = (report: typeof demoReport): Figure[] =>
  report.sections.flatMap(({ blocks }) => blocks.filter((block) => block.kind === 'figure'))
const date = new Date(0)
const draw = await openFigurePdf()
const drawn = async (figure: Figure) => readPdf(await draw(standaloneSvg(figure, figure.id), date))

test.each(figuresOf(demoReport).map((figure) => ({ id: figure.id, figure })))(
  '$id has all texts of its SVG, in embedded fonts',
  async ({ figure }) => {
    const { texts, fonts } = await drawn(figure)
    const wanted = elementsOf(standaloneSvg(figure, figure.id)).flatMap(({ tag, text }) =>
      tag === 'text' ? [text] : [],
    )
    expect(texts).toEqual(expect.arrayContaining(wanted))
    expect(wanted.length).toBeGreaterThan(2)
    for (const font of fonts) expect(font).toMatch(/^[A-Z]{6}\+Arimo/)
  },
)

test('true minus, times, plus-minus, dashes, arrows and Greek letters are characters of the text', async () => {
  const label = '−0.5 × 2 ± 1 – α'
  const rows = [{ label, mean: -0.5, low: -0.7, high: -0.3, values: [-0.5] }]
  const x = { label: 'x', scale: 'linear' } as const
  const figure: Figure = {
    kind: 'figure',
    form: 'intervals',
    id: 'f',
    caption: 'c',
    x,
    zero: 0,
    sides: ['a', 'b'],
    rows,
  }
  const { texts } = await drawn(figure)
  expect(texts).toContain(label)
  expect(texts).toContain('−0.5 (−0.7 to −0.3)')
  expect(texts).toEqual(expect.arrayContaining(['←\u00a0a', 'b\u00a0→']))
  const { texts: boxes } = await drawn({ ...figure, rows: rows.map((row) => ({ ...row, label: 'a 中 b' })) })
  expect(boxes).toContain('a □ b')
})

test('hostile figures are drawn, and the same figure gives the same bytes', async () => {
  const figures = figuresOf(hostileReport)
  for (const figure of figures) expect((await drawn(figure)).page).not.toContain('NaN')
  const svg = standaloneSvg(figures[0] ?? (figuresOf(demoReport)[0] as Figure), 'f')
  expect(await draw(svg, date)).toEqual(await draw(svg, date))
})

test('missing values are hatched inside of their cells', async () => {
  const heat = figuresOf(demoReport).find(({ form }) => form === 'heat')
  if (heat?.form !== 'heat') throw new Error('no matrix')
  const stripes = async (figure: Figure) => (await drawn(figure)).page.match(/^W n$/gm)?.length ?? 0
  const full = heat.panels.map((panel) => ({ ...panel, values: panel.values.map((row) => row.map((v) => v ?? 1)) }))
  expect(await stripes(heat)).toBeGreaterThan(await stripes({ ...heat, panels: full }))
})

test('the style of an element follows from its tag and classes; later and more specific rules win', () => {
  const rules = rulesOf(
    '.plot text { fill: #111111; font: 12px serif } .plot .a, .plot text.b { fill: #222222 } .plot .a { stroke: #333333 } @media x { .plot text { fill: #999999 } }',
  )
  expect(styleOf(rules, 'text', {})).toEqual({ fill: '#111111', 'font-size': '12' })
  expect(styleOf(rules, 'text', { class: 'b', x: '1' })).toMatchObject({ fill: '#222222', x: '1' })
  expect(styleOf(rules, 'path', { class: 'z a', fill: 'red' })).toMatchObject({ fill: '#222222', stroke: '#333333' })
  expect(styleOf(rules, 'path', { class: 'b' })).not.toHaveProperty('fill')
  expect(() => rulesOf('.plot > g { fill: red }')).toThrow('internal')
  expect(rulesOf(figureStyle).length).toBeGreaterThan(50)
})
