/** The folder `paper` of whole studies with known effects. @slow */
import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Exact, Table } from '../../report/blocks.ts'
import { isInterval } from '../../report/interval-cells.ts'
import { bibliography } from '../../report/paper/bibliography.ts'
import { csvRecords } from '../../report/testing/parse-csv.ts'
import { checkTex } from '../../report/testing/parse-tex.ts'
import { analyse } from '../analysis/analyse.ts'
import type { StudyResults } from '../contract.ts'
import { builtinStudies, readBuiltin, studySizes } from '../grid/read-specification.ts'
import { views } from '../specification.ts'
import { mapStudy } from '../testing/map.ts'
import { studyOf } from '../testing/results.ts'
import { writeReport } from './write.ts'

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'choir-paper-'))
})
afterEach(() => rm(directory, { recursive: true }))

const write = async (results: StudyResults) =>
  writeReport(results, await readBuiltin('m6t', 'quick'), { directory }, true)
const text = (name: string) => readFile(join(directory, 'paper', name), 'utf8')

const arms = {
  'top-1 (50 %_{a}, "b")': {
    jitter: 0.01,
    gates: [0.5, 0.6],
    documents: Array.from({ length: 12 }, (_, i) => (i % 3) / 10 - 0.1),
    domains: { news: 0.1, code: -0.1 },
    elsewhere: { 'moby-dick': 0 },
  },
  'top-2': {
    effect: -0.0312345678,
    jitter: 0.03,
    cv: 0.6,
    gates: [0.7, 0.8],
    documents: Array.from({ length: 12 }, (_, i) => (i % 4) / 10 - 0.15),
    domains: { news: 0.2, code: -0.2 },
    elsewhere: { 'moby-dick': 0.1 },
    settings: { 'model.moe.k': 2 },
  },
  dense: {
    effect: 0.2,
    jitter: 0.02,
    settings: { 'model.moe': null },
    parameters: 2_000_000,
    domains: { news: 0, code: 0 },
  },
  failed: { failed: [0, 1, 2, 3, 4] },
}
const timings = ['top-1 (50 %_{a}, "b")', 'top-2'].map((arm, i) => ({
  arm,
  stepMs: 10 + i,
  turnsMs: [10, 11, 12.5],
  engine: 'e',
}))
const [baseline = '', ...others] = Object.keys(arms)
const everything = studyOf({
  arms,
  timings,
  questions: views.map((view) => ({
    id: view,
    title: `The ${view} of #1`,
    about: 'About.',
    view,
    contrasts: others.map((arm) => ({ baseline, arm })),
  })),
})

const tablesOf = (results: StudyResults): Table[] =>
  analyse(results).sections.flatMap(({ lead, blocks }) => [
    ...(lead ? [lead] : []),
    ...blocks.filter((one) => one.kind === 'table'),
  ])

test.each([
  ['with every view', everything],
  ['that is a map', mapStudy()],
])('a study %s has every table as LaTeX and CSV, with the numbers of its report', async (_, results) => {
  const { files } = await write(results)
  expect(files.paper).toBe(join(directory, 'paper'))
  const names = await readdir(join(directory, 'paper'))
  const tables = tablesOf(results)
  expect(names.filter((name) => name.startsWith('table-'))).toHaveLength(2 * tables.length)
  expect(tables.length).toBeGreaterThan(5)
  let compared = 0
  const inputs = [...(await text('report.tex')).matchAll(/\\input\{(table-[\w-]+)\}/g)].map(([, name]) => name)
  expect(inputs).toHaveLength(tables.length)
  // A table that is not the only one with its name has a number, which depends on the order.
  expect(inputs.filter((name) => /-\d+$/.test(name ?? ''))).toEqual([])
  for (const [i, table] of tables.entries()) {
    checkTex(await text(`${inputs[i]}.tex`))
    const records = csvRecords(await text(`${inputs[i]}.csv`))
    expect(records).toHaveLength(table.rows.length)
    for (const [row, cells] of table.rows.entries()) {
      const written = Object.values(records[row] ?? {})
      const exact = cells.flatMap((cell): Exact[] =>
        typeof cell === 'object' && !isInterval(cell) && cell.exact ? [cell.exact] : [],
      )
      const numbers = exact
        .flatMap(({ values, interval = [] }) => [...values, ...interval])
        .filter((one) => one !== null && Number.isFinite(one))
      expect(written).toEqual(expect.arrayContaining(numbers.map(String)))
      compared += numbers.length
    }
  }
  expect(compared).toBeGreaterThan(20)
  checkTex(await text('report.tex'))
})

test('a difference has its name, all its digits and the ends of its interval in the CSV', async () => {
  await write(everything)
  const names = await readdir(join(directory, 'paper'))
  const contrasts = await Promise.all(names.filter((name) => /^table-plain-.*\.csv$/.test(name)).map(text))
  const row = contrasts.flatMap(csvRecords).find(({ arm, difference }) => arm?.startsWith('top-2') && difference)
  expect(Number(row?.difference)).toBeCloseTo(-0.0312345678, 9)
  expect(Number(row?.difference_low)).toBeLessThan(-0.0312345678)
  expect(Number(row?.difference_high)).toBeGreaterThan(-0.0312345678)
})

test('files of an earlier report are removed, files of the user stay, and the results have their hash', async () => {
  await writeFile(join(directory, 'results.json.gz'), 'stored')
  await write(everything)
  const before = await readdir(join(directory, 'paper'))
  const own = ['main.tex', 'table-3-capacity-short.tex', 'table-3.csv', 'figure-2.svg', 'table-1-notes.tex']
  for (const name of own) await writeFile(join(directory, 'paper', name), 'of the user')
  await write(studyOf({ arms: { a: {}, b: { effect: 0.1 } } }))
  const after = await readdir(join(directory, 'paper'))
  expect(after).toEqual(expect.arrayContaining(own))
  expect(after.length - own.length).toBeLessThan(before.length)
  const inputs = [...(await text('report.tex')).matchAll(/\\(?:input|includegraphics)\{((?:table|figure)[\w-]+)\}/g)]
  const ours = after
    .filter((name) => /^(?:table|figure)-/.test(name) && !own.includes(name))
    .map((name) => name.replace(/(?:-column)?\..*/, ''))
  expect([...new Set(ours)].sort()).toEqual(inputs.map(([, name]) => name).sort())
  expect(await text('report.bib')).toContain(createHash('sha256').update('stored').digest('hex'))
})

test('every paper that a built-in study names has its authors in the bibliography', async () => {
  const sizes = Object.keys(studySizes)
  const every = Object.keys(builtinStudies).flatMap((name) => sizes.map((size) => readBuiltin(name, size)))
  const facts = (await Promise.all(every)).map(({ questions }) => JSON.stringify(questions))
  const bib = bibliography({ ...analyse(everything), facts }, { version: '1', date: new Date(0) })
  const [, ...entries] = bib.split('@misc{').slice(1)
  expect(entries.length).toBeGreaterThan(5)
  expect(entries.filter((entry) => !entry.includes('author = '))).toEqual([])
})

test('a report without the files for a paper has no such folder', async () => {
  const { files } = await writeReport(everything, await readBuiltin('m6t', 'quick'), { directory })
  expect(files).not.toHaveProperty('paper')
  expect(await readdir(directory)).not.toContain('paper')
})
