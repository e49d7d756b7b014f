/** @slow */
import { expect, test } from 'vitest'
import type { Table } from '../blocks.ts'
import { demoReport } from '../testing/demo-report.ts'
import { hostileReport } from '../testing/hostile-report.ts'
import { parseXml } from '../testing/parse-xml.ts'
import { renderHtml } from './html.ts'

const section = { id: 'summary', title: 'Summary', about: '', verdicts: [], blocks: [] }
const page = renderHtml(demoReport)
const elements = parseXml(page)
const named = (name: string) => elements.filter((element) => element.name === name)

test.each([
  ['demo', demoReport],
  ['hostile', hostileReport],
])('the page of the %s report is well-formed, without requests or scripts', (_, report) => {
  const all = parseXml(renderHtml(report))
  expect(
    all.filter(({ name }) => ['script', 'link', 'img', 'iframe', 'object', 'image', 'use'].includes(name)),
  ).toEqual([])
  for (const { name, attributes } of all) {
    expect(Object.keys(attributes).filter((key) => key.startsWith('on') || key === 'src' || key === 'style')).toEqual(
      [],
    )
    if (attributes.href !== undefined) expect(attributes.href, name).toMatch(/^#/)
    if (name === 'style') expect(attributes).toEqual({})
  }
  const policy = all.find(({ attributes }) => attributes['http-equiv'] === 'Content-Security-Policy')
  expect(policy?.attributes.content).toContain("default-src 'none'")
  expect(renderHtml(report).replace(/xmlns="[^"]*"/g, '')).not.toMatch(/url\((?!#)|@import/)
})

test.each([
  ['demo', demoReport],
  ['hostile', hostileReport],
])('in the %s report, ids are unique and every link leads somewhere', (_, report) => {
  const all = parseXml(renderHtml(report))
  const ids = all.flatMap(({ attributes }) => attributes.id ?? [])
  expect(new Set(ids).size).toBe(ids.length)
  for (const { attributes } of all) {
    if (attributes.href !== undefined) expect(ids).toContain(attributes.href.slice(1))
    for (const key of ['aria-labelledby', 'aria-describedby']) {
      if (attributes[key] !== undefined) expect(ids).toContain(attributes[key])
    }
  }
})

test('names from users appear unchanged', () => {
  const texts = parseXml(renderHtml(hostileReport)).filter(
    ({ parents, name }) => parents.includes('header') && name === 'li',
  )
  expect(texts[0]?.text).toBe(`<script>alert('1')</script>`)
  expect(texts[1]?.text).toBe(`"quoted" & 'single' </title></svg></style>]]>`)
})

test('every verdict appears once, in its section', () => {
  for (const { verdicts } of demoReport.sections) {
    for (const verdict of verdicts) {
      const shown = elements.filter(({ name, text }) => name === 'li' && text === verdict)
      expect(shown.map(({ parents }) => parents.includes('section'))).toEqual([true])
    }
  }
})

test('the summary precedes the contents, and its table precedes its verdicts', () => {
  const order = elements.flatMap(({ name, attributes }) =>
    attributes.class === 'lead'
      ? ['table']
      : attributes.class?.startsWith('verdicts')
        ? ['verdicts']
        : name === 'nav'
          ? ['nav']
          : [],
  )
  expect(order.slice(0, 3)).toEqual(['table', 'verdicts', 'nav'])
})

test('an interval is drawn with zero in the middle, and ends in an arrow beyond the axis', () => {
  const strips = elements.filter(({ attributes }) => attributes.class?.startsWith('strip '))
  expect(strips.map(({ attributes }) => [attributes.class, attributes['aria-label']])).toEqual([
    ['strip better', 'left of zero, interval excludes zero'],
    ['strip open', 'right of zero, interval includes zero'],
  ])
  const width = Number(strips[0]?.attributes.width)
  const dots = elements
    .filter(({ attributes }) => attributes.class === 'dot')
    .map(({ attributes }) => Number(attributes.cx))
  // The means are −0.02 and 0.01 on an axis from −0.04 to 0.04, with 8 pixels at each end.
  expect(dots).toEqual([width / 2 - ((width - 16) / 2) * 0.5, width / 2 + ((width - 16) / 2) * 0.25])
  const spans = elements.filter(({ attributes }) => attributes.class === 'span').map(({ attributes }) => attributes.d)
  // An end is one vertical line; an arrow is two lines.
  expect(spans[0]).not.toContain('L')
  expect(spans[1]?.match(/L/g)).toHaveLength(2)
})

test('a mean beyond the axis is a dot at its end after a break, without an interval', () => {
  const cell = { mean: 0.4, low: 0.3, high: 0.5, reach: 0.1, tone: 'worse' } as const
  const lead: Table = { kind: 'table', caption: '', columns: [{ title: 'Drawn', align: 'right' }], rows: [[cell]] }
  const strip = parseXml(renderHtml({ ...demoReport, sections: [{ ...section, lead }] })).filter(({ parents }) =>
    parents.includes('td'),
  )
  const of = (name: string) => strip.filter(({ attributes }) => attributes.class === name)
  const [drawing] = of('strip worse')
  expect(drawing?.attributes['aria-label']).toBe('right of zero, beyond the axis, interval excludes zero')
  expect(Number(of('dot')[0]?.attributes.cx)).toBe(Number(drawing?.attributes.width) - 8)
  expect(of('break')).toHaveLength(1)
  expect(of('span')).toHaveLength(0)
})

test('every figure has a caption and a table of its numbers; the command is there once', () => {
  const figures = demoReport.sections.flatMap(({ blocks }) => blocks.filter(({ kind }) => kind === 'figure'))
  const captions = named('figcaption')
  expect(captions.map(({ text }) => text)).toEqual(figures.map(({ caption }, i) => `Figure ${i + 1}. ${caption}`))
  expect(page.split('Made by ')).toHaveLength(2)
  expect(named('table').filter(({ parents }) => parents.includes('figure'))).toHaveLength(figures.length)
})

test('tables have captions, column headings and row names', () => {
  expect(named('caption').map(({ text }) => text)).toEqual([
    'Table 1. Two questions.',
    'Table 2. Arms: mean over five seeds, with the standard deviation of seeds.',
  ])
  const scopes = named('th').map(({ attributes }) => attributes.scope)
  expect(new Set(scopes)).toEqual(new Set(['col', 'row']))
})

test('the same report gives the same bytes', () => {
  expect(renderHtml(demoReport)).toBe(page)
})

test('a report without sections is a valid page', () => {
  expect(renderHtml({ title: 't', facts: [], command: 'c', sections: [] })).toContain('No results yet.')
})
