/** Files for a paper, read back by strict readers: every table as LaTeX and CSV, the report, and its sources. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { count, fixed, percent, signed } from '../../../core/text/numbers.ts'
import type { Cell, Table } from '../blocks.ts'
import { isInterval } from '../interval-cells.ts'
import type { Report } from '../report.ts'
import { demoReport } from '../testing/demo-report.ts'
import { hostileReport } from '../testing/hostile-report.ts'
import { csvRecords, parseCsv } from '../testing/parse-csv.ts'
import { checkTex } from '../testing/parse-tex.ts'
import { csvOf } from './csv.ts'
import { COLUMN, paperOf } from './paper.ts'
import { texOf } from './tex-table.ts'
import { texText } from './tex-text.ts'

const study = { version: '1.2.3', hash: 'abc123', date: new Date('2026-02-03') }

const tablesOf = ({ sections }: Report): Table[] =>
  sections.flatMap(({ lead, blocks }) => [...(lead ? [lead] : []), ...blocks.filter((block) => block.kind === 'table')])

const tableWith = (rows: readonly (readonly Cell[])[], title = 'Difference'): Table => ({
  kind: 'table',
  caption: 'A table.',
  columns: [
    { title: 'Arm', align: 'left' },
    { title, align: 'right' },
  ],
  rows,
})

describe.each([
  ['demo', demoReport],
  ['hostile', hostileReport],
])('the %s report', (_, report) => {
  const texts = paperOf(report, study)
  const tables = tablesOf(report)
  const names = Object.keys(texts)

  test('has every table as LaTeX and as CSV, with all its rows', () => {
    const files = names.filter((name) => /^table.*\.tex$/.test(name))
    expect(files).toHaveLength(tables.length)
    for (const [i, { rows }] of tables.entries())
      expect(parseCsv(texts[files[i]?.replace('.tex', '.csv') ?? ''] ?? '')).toHaveLength(rows.length + 1)
    expect(names.filter((name) => name.startsWith('table-'))).toHaveLength(2 * tables.length)
  })

  test('is LaTeX that inputs exactly the files beside it', () => {
    for (const name of names) if (name.endsWith('.tex')) checkTex(texts[name] ?? '')
    const inputs = [
      ...(texts['report.tex'] ?? '').matchAll(/\\(?:input|includegraphics)\{((?:table|figure)-[\w-]+)\}/g),
    ]
    const written = names.filter((name) => /^table.*\.tex$/.test(name)).map((name) => name.replace('.tex', ''))
    const figures = names.filter((name) => name.endsWith('.svg'))
    const onPage = figures.filter((name) => !name.endsWith(COLUMN)).map((name) => name.replace('.svg', ''))
    expect(inputs.map(([, file]) => file).sort()).toEqual([...written, ...onPage].sort())
    expect(figures.sort()).toEqual(onPage.flatMap((name) => [`${name}.svg`, `${name}${COLUMN}`]).sort())
  })
})

describe('names of files', () => {
  const table = (id: string): Table => ({ ...tableWith([['a', '1']]), id })
  const section = (id: string, ...ids: string[]) => ({ id, title: id, about: '', verdicts: [], blocks: ids.map(table) })
  const reportOf = (...sections: ReturnType<typeof section>[]): Report => ({ ...demoReport, sections })
  const namesOf = (report: Report) => Object.keys(paperOf(report, study)).filter((name) => /^table.*csv$/.test(name))

  test('have the ids of section and table, so that they stay if the order changes or tables are added before', () => {
    const [a, b] = [section('capacity', 'contrasts', 'routers'), section('arms', 'losses')]
    const names = ['table-capacity-contrasts.csv', 'table-capacity-routers.csv', 'table-arms-losses.csv']
    expect(namesOf(reportOf(a, b))).toEqual(names)
    const more = namesOf(reportOf(section('first', 'x'), b, section('capacity', 'controls', 'contrasts', 'routers')))
    expect(more).toEqual(expect.arrayContaining(names))
    expect(more).toHaveLength(5)
  })

  test('are different if ids are equal', () => {
    expect(namesOf(reportOf(section('a', 'x', 'x')))).toEqual(['table-a-x.csv', 'table-a-x-2.csv'])
  })
})

test('a figure for a column is 85 mm wide at the size of its text', () => {
  const columns = Object.entries(paperOf(demoReport, study)).filter(([name]) => name.endsWith(COLUMN))
  expect(columns.length).toBeGreaterThan(2)
  for (const [, svg] of columns) {
    const pixels = Number(/<svg[^>]* width="(\d+)"/.exec(svg)?.[1])
    // A pixel is 0.75 points, of which 72 are an inch, so text of 11 pixels has 8.25 points.
    expect((pixels * 0.75 * 25.4) / 72).toBeGreaterThan(84)
    expect((pixels * 0.75 * 25.4) / 72).toBeLessThanOrEqual(85)
  }
})

test('texts of any user are LaTeX, and different names stay different', () => {
  const hard = fc.constantFrom(
    'top-1',
    '\\end{tabular}',
    '100 % & $x_1$ #2 ~^',
    '{',
    '}}',
    '中文',
    'é',
    '[x]',
    '--',
    '\\\\',
  )
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.string({ unit: 'binary' }), hard), { minLength: 1, maxLength: 5 }), (names) => {
      checkTex(texOf(tableWith(names.map((name) => [{ text: name, note: name }, name]))))
    }),
  )
  expect(new Set(['中', '文', 'é', 'e', 'ê', 'α', '×', 'x', '–', '-', '−', '--'].map(texText)).size).toBe(12)
})

test('accents, Greek letters, specials and other scripts are written in ASCII', () => {
  expect(texText('50 % of {x_1} & #2 ~ ^ \\')).toBe(
    '50 \\% of \\{x\\_1\\} \\& \\#2 \\textasciitilde{} \\textasciicircum{} \\textbackslash{}',
  )
  expect(texText('Größe γ·Ê − × ‡ 中')).toBe(
    'Gr\\"{o}\\ss{}e $\\gamma$$\\cdot$\\^{E} $-$ $\\times$ \\ddag{} {[}U+4E2D{]}',
  )
  expect(texText('--set, “x”')).toBe("-{}-set, {``}x{''}")
})

test('numbers of LaTeX are aligned on the decimal point, with a true minus, and intervals are formulas', () => {
  const tex = texOf(
    tableWith([
      ['a', { text: '−0.0210 ‡', note: '−0.030 to −0.010' }],
      ['b', { text: '+0.5', note: 'one seed' }],
      ['c', '–'],
    ]),
  )
  expect(tex).toContain('a & $-0.0210$\\rlap{\\ddag{}} \\\\\n & {\\scriptsize $[-0.030, -0.010]$} \\\\')
  expect(tex).toContain('b & $+0.5$\\phantom{000} \\\\\n & {\\scriptsize one seed} \\\\')
  expect(tex).toContain('c & --{} \\\\')
})

test('counts with different units are not aligned, and a long table continues on the next page', () => {
  const tex = texOf(tableWith([...Array(41)].map((_, i) => ['a', i === 0 ? '950k' : '1.25 M'])))
  expect(tex).toContain('a & $950$\\,k \\\\\na & $1.25$\\,M \\\\')
  expect(tex).toMatch(/^\\begin\{longtable\}\{lr\}\n\\toprule\n.*\n\\midrule\n\\endhead/)
})

test('a CSV has the numbers that cells show, with a dot and a minus of ASCII, and the ends of intervals', () => {
  const cells: readonly [Cell, Record<string, string>][] = [
    ['−0.021', { x: '-0.021' }],
    ['1.39 M', { x: '1390000' }],
    ['86.3k', { x: '86300' }],
    ['1,500', { x: '1500' }],
    ['2.10e+15', { x: '2100000000000000' }],
    ['×1.25', { x: '1.25' }],
    ['12.2 %', { x_percent: '12.2' }],
    ['8.21 ms', { x_ms: '8.21' }],
    ['7.2 to 12.0 ms', { x_ms_low: '7.2', x_ms_high: '12' }],
    [
      { text: '0.5 ‡ §', note: '−0.3 to 1.2' },
      { x: '0.5', x_low: '-0.3', x_high: '1.2', x_marks: '‡ §' },
    ],
    [
      { text: '0.1 to 0.2', note: 'with seeds −0.1 to 0.4' },
      { x_low: '0.1', x_high: '0.2', x_with_seeds_low: '-0.1', x_with_seeds_high: '0.4' },
    ],
    [
      { text: '3.2', note: '± 0.01' },
      { x: '3.2', x_plus_minus: '0.01' },
    ],
    [
      { text: '1.0 %', note: '0.5 % unserved' },
      { x_percent: '1', x_unserved_percent: '0.5' },
    ],
    [
      { text: '+0.1', note: 'one seed' },
      { x: '0.1', x_note: 'one seed' },
    ],
    ['better', { x: 'better' }],
    ['< 0.001', { x: '< 0.001' }],
    ['–', { x: '' }],
    [
      { text: '0.02', note: '0.01 to 0.03', exact: { values: [1 / 48], interval: [1 / 96, null] } },
      { x: String(1 / 48), x_low: String(1 / 96) },
    ],
    [
      { text: '0.4 0.6', exact: { values: [0.41, null, 0.62] } },
      { x_1: '0.41', x_3: '0.62' },
    ],
    [{ text: 'not reached', exact: { values: [null] } }, { x: 'not reached' }],
  ]
  for (const [cell, expected] of cells)
    expect(csvRecords(csvOf(tableWith([['a', cell]], 'x')))).toEqual([{ arm: 'a', ...expected }])
})

test('every finite number that is formatted for a table is read back as it is shown', () => {
  const read = (text: string) => Object.values(csvRecords(csvOf(tableWith([['a', text]])))[0] ?? {})[1]
  const number = fc.double({ min: -1e6, max: 1e6, noNaN: true })
  fc.assert(
    fc.property(number, fc.integer({ min: 0, max: 6 }), (value, digits) => {
      const rounded = Number(value.toFixed(digits)) + 0
      expect(Number(read(fixed(value, digits)))).toBe(rounded)
      expect(Number(read(signed(value, digits)))).toBe(rounded)
      expect(Number(read(percent(value / 1000, digits)))).toBe(Number((100 * (value / 1000)).toFixed(digits)) + 0)
      expect(Number(read(count(Math.round(value))))).toBe(Number(Math.round(value).toPrecision(3)) + 0)
    }),
  )
})

test('names of arms are text even if they look like numbers, with quotes where CSV needs them', () => {
  const names = ['2 experts', '16', 'a, "b"', 'x\ny', '0.09 M, dense']
  const rows = csvRecords(csvOf(tableWith(names.map((name) => [{ text: name, note: `against ${name}` }, '1']))))
  expect(rows.map(({ arm }) => arm)).toEqual(['2 experts', '16', 'a, "b"', 'x y', '0.09 M, dense'])
  expect(rows[1]?.arm_note).toBe('against 16')
})

test('a column that only draws the numbers of others is in neither file', () => {
  const [answers] = tablesOf(demoReport)
  if (!answers) throw new Error('no table')
  expect(answers.rows.flat().some(isInterval)).toBe(true)
  expect(Object.keys(csvRecords(csvOf(answers))[0] ?? {})).toEqual([
    'question',
    'question_note',
    'answer',
    'effect',
    'interval_95_percent_low',
    'interval_95_percent_high',
    'interval_95_percent_note',
    'visible_from',
  ])
})

test('the bibliography has the study, M6-T, and the papers that the report names, and no other', () => {
  const citing = { ...demoReport, facts: ['The law of arXiv 2502.05172 & arXiv 1212.56789'] }
  const keysOf = (report: Report) =>
    [...(paperOf(report, study)['report.bib'] ?? '').matchAll(/^@misc\{(.+),$/gm)].map(([, key]) => key)
  expect(keysOf(demoReport)).toEqual(['study', 'yang2021m6t'])
  expect(keysOf(citing)).toEqual(['study', 'yang2021m6t', 'ludziejewski2025joint', 'arxiv1212.56789'])
  const entry = paperOf(demoReport, study)['report.bib'] ?? ''
  for (const part of [demoReport.title, '1.2.3', 'abc123', '2026-02-03', 'arXiv:2105.15082'])
    expect(entry).toContain(part)
})

test.each([
  ['arXiv: 2404.00001', ['2404.00001']],
  ['arXiv 2404.00001, 2405.00002', ['2404.00001', '2405.00002']],
  ['https://arxiv.org/pdf/2404.00001v2', ['2404.00001']],
  ['doi:10.48550/arXiv.2404.00001', ['2404.00001']],
  ['“A claim” (2404.00001) holds.\n2405.00002.', ['2404.00001', '2405.00002']],
  ['12404.00001 −2404.00001 2404.000012 2499.00001 10.2404.00001', []],
])('the bibliography has the papers that %j names', (fact, ids) => {
  // A number with as many digits is no paper.
  const exact = tableWith([['a', { text: '2404.1', exact: { values: [2404.12345] } }]])
  const [section] = demoReport.sections
  if (!section) throw new Error('no section')
  const report = { ...demoReport, facts: [fact], sections: [{ ...section, blocks: [exact] }] }
  const bib = paperOf(report, study)['report.bib'] ?? ''
  expect([...bib.matchAll(/^@misc\{arxiv(.+),$/gm)].map(([, id]) => id)).toEqual(ids)
})

test('braces of a title and a command leave every entry of the bibliography balanced', () => {
  for (const brace of ['{', '}', '\\{', '}{']) {
    const report = { ...demoReport, title: `a ${brace} b`, command: `choir study ${brace}` }
    const bib = paperOf(report, study)['report.bib'] ?? ''
    // BibTeX counts every brace, also after a backslash.
    let depth = 0
    for (const character of bib) {
      depth += character === '{' ? 1 : character === '}' ? -1 : 0
      expect(depth).toBeGreaterThanOrEqual(0)
    }
    expect(depth).toBe(0)
    expect(bib.match(/^@misc\{/gm)).toHaveLength(2)
    expect(bib).toContain(brace.includes('{') ? '\\textbraceleft{}' : '\\textbraceright{}')
  }
})
