/**
 * The results file in all its forms: as this program writes it, uncompressed as earlier programs wrote it, and with
 * records of older numerics.
 */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { packageFile } from '../../../core/package-file.ts'
import { lawText, parseLaw } from '../../law/law-file.ts'
import { lawFileOf } from '../analysis/map/study-law.ts'
import { NUMERICS } from '../grid/numerics.ts'
import { readSpecification } from '../grid/read-specification.ts'
import { runStudy, studyOf } from '../runs/run-study.ts'
import { writeStudyReport } from '../shown/study.ts'
import { FakeStudy, recorder, runWithLoss } from '../testing/fake-study.ts'
import { readStored, storedText, writeStored } from '../testing/stored.ts'
import { checked, withChecksum } from './checksum.ts'
import { resultsOf, runsOf } from './results.ts'

let fake: FakeStudy
beforeEach(async () => {
  fake = await FakeStudy.open()
})
afterEach(() => fake.close())

interface Stored {
  records: Record<string, unknown>[]
  timings: Record<string, unknown>[]
}

const specification = () =>
  fake.specification({
    arms: { a: {}, b: { 'model.moe.k': 2 } },
    seeds: [1, 2],
    timings: ['a', 'b'],
    questions: [{ title: 'Two experts', view: 'capacity', contrasts: [['b', 'a']] }],
  })

const out = (folder = 'out') => fake.options({ directory: fake.file(folder) })

/** Runs the missing trainings, and returns their number. */
async function run(folder = 'out'): Promise<number> {
  const { jobs, run } = recorder(runWithLoss)
  await runStudy(specification(), out(folder), run)
  return jobs.filter(({ kind }) => kind === 'train').length
}

/** All files of the report, by name. */
async function reportOf(folder: string): Promise<Record<string, string>> {
  await writeStudyReport(specification(), out(folder))
  const root = fake.file(folder)
  const names = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) =>
    /report\.|\.svg$|\.parquet$|\.yaml$/.test(name),
  )
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(root, name), 'latin1')]))
}

async function writeUncompressed(folder: string, text: string): Promise<void> {
  await mkdir(fake.file(folder), { recursive: true })
  await writeFile(fake.file(folder, 'results.json'), text)
}

test('every file of a report has the same bytes from results.json.gz as from the JSON in it', async () => {
  await run()
  await writeUncompressed('json', storedText(fake.file('out')))
  const report = await reportOf('out')
  expect(Object.keys(report)).toEqual(expect.arrayContaining(['report.html', 'report.md', 'results.parquet']))
  expect(Object.keys(report).some((name) => name.endsWith('.svg'))).toBe(true)
  expect(await reportOf('json')).toEqual(report)
})

test('a study of an earlier program continues, and has one file of results afterwards', async () => {
  await run()
  const stored = readStored<Stored>(fake.file('out'))
  await writeUncompressed('json', JSON.stringify({ ...stored, records: stored.records.slice(1) }))
  expect(await run('json')).toBe(1)
  expect(existsSync(fake.file('json', 'results.json'))).toBe(false)
  expect(readStored<Stored>(fake.file('json')).records).toHaveLength(4)
})

test('if both files exist, the results of both count, and a finished run precedes a failed attempt at it', async () => {
  await run()
  const stored = readStored<Stored>(fake.file('out'))
  const [first, second, third, fourth] = stored.records as [object, object, object, object]
  const { key, seed, config } = second as Record<string, unknown>
  const failed = withChecksum({ status: 'failed', key, seed, config, error: 'no luck' })
  for (const [compressed, uncompressed] of [
    [
      [first, second],
      [failed, third, fourth],
    ],
    [
      [failed, third],
      [first, second, fourth],
    ],
  ]) {
    writeStored(fake.file('out'), JSON.stringify({ ...stored, records: compressed }))
    await writeUncompressed('out', JSON.stringify({ ...stored, timings: [], records: uncompressed }))
    expect(await run()).toBe(0)
    const { records, timings } = readStored<Stored>(fake.file('out'))
    expect(records).toHaveLength(4)
    expect(records).toEqual(expect.arrayContaining([first, second, third, fourth]))
    expect(timings).toEqual(stored.timings)
    expect(existsSync(fake.file('out', 'results.json'))).toBe(false)
  }
})

test('a report, and only a report, may be about results of older numerics, and says so', async () => {
  await run()
  const report = await reportOf('out')
  const stored = readStored<Stored>(fake.file('out'))
  const older = (entry: Record<string, unknown>, change: object) => {
    const key = createHash('sha256').update(String(entry.key)).digest('hex').slice(0, 16)
    return withChecksum({ ...checked(entry).entry, key, ...change })
  }
  const text = JSON.stringify({
    ...stored,
    records: stored.records.map((record) => older(record, { version: NUMERICS - 1 })),
    timings: stored.timings.map((timing) => older(timing, {})),
  })
  writeStored(fake.file('out'), text)
  await expect(run()).rejects.toThrow(/older program/)
  const { 'report.md': markdown = '', ...rest } = await reportOf('out')
  const note = /^.*Computed by an older program \(numerics \d+ of \d+\).*\n/m
  expect(markdown).toMatch(note)
  expect(markdown.replace(note, '')).toBe(report['report.md'])
  for (const name of Object.keys(rest).filter((name) => !name.endsWith('.html'))) expect(rest[name]).toBe(report[name])
  expect(storedText(fake.file('out'))).toBe(text)
})

/** The studies of the documentation. They have two versions of the numerics, with and without checksums. */
const published = fileURLToPath(new URL('../../../../docs/results', import.meta.url))
const names = readdirSync(published).filter((name) => existsSync(join(published, name, 'report.md')))

test.each(names)('docs/results/%s can be reported from its study.yaml and results.json.gz', async (name) => {
  const directory = join(published, name)
  const specification = await readSpecification(join(directory, 'study.yaml'))
  const { grid, ledger } = await studyOf(specification, fake.options({ directory }))
  const found = runsOf(grid, ledger).filter(({ key, config }) => ledger.find(key, config)?.status === 'finished')
  const [, done] = /^- (\d+) of \d+ runs done/m.exec(readFileSync(join(directory, 'report.md'), 'utf8')) ?? []
  expect(found).toHaveLength(Number(done))
})

test('the law that choir worth reads without an option is that of the published map', async () => {
  const directory = join(published, 'map')
  const specification = await readSpecification(join(directory, 'study.yaml'))
  const options = fake.options({ directory })
  const { grid, ledger } = await studyOf(specification, options)
  const law = lawFileOf(resultsOf(specification, options, grid, ledger))
  const shipped = parseLaw(await readFile(packageFile('laws/law.json'), 'utf8'))
  // Only the name of the study is that of its file.
  expect(parseLaw(lawText(law as NonNullable<typeof law>))).toEqual({ ...shipped, study: expect.any(String) })
})
