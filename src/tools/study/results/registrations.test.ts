/**
 * Registrations of predictions, from the start of a study to its report, with jobs that train nothing.
 *
 * @slow
 */
import { createHash } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { csvRecords } from '../../report/testing/parse-csv.ts'
import type { FinishedRun, Registration } from '../contract.ts'
import { readSpecification } from '../grid/read-specification.ts'
import type { TrainJob } from '../runs/job.ts'
import type { StudyOptions } from '../runs/run-study.ts'
import type { RunJob } from '../runs/workers.ts'
import { study, writeStudyReport } from '../shown/study.ts'
import type { SpecificationInput } from '../specification.ts'
import { FakeStudy, recorder, runWithGivenLoss } from '../testing/fake-study.ts'
import { readStored, writeStored } from '../testing/stored.ts'
import { checked, withChecksum } from './checksum.ts'
import { readResults } from './results-file.ts'

vi.setConfig({ testTimeout: 60_000 })

let fake: FakeStudy
beforeEach(async () => {
  fake = await FakeStudy.open()
})
afterEach(() => fake.close())

/** The loss falls with the number of experts of a token, by 0.1 for each, with an error of 0.001 or less. */
const falling = (job: TrainJob): FinishedRun =>
  runWithGivenLoss(
    job,
    4 - 0.1 * (job.config.model.moe?.k ?? 0) + 0.001 * Math.sin(job.seed * 7 + (job.config.model.moe?.k ?? 0)),
  )

const questions = [
  { title: 'Two?', baseline: 'one', arms: ['two'] },
  { title: 'Three?', baseline: 'one', arms: ['three'] },
]
const input: SpecificationInput = {
  arms: { one: {}, two: { 'model.moe.k': 2 }, three: { 'model.moe.k': 3 } },
  seeds: [1, 2, 3],
  questions,
}
type Predictions = NonNullable<SpecificationInput['predictions']>
const better: Predictions = [{ question: 'Two?', expect: 'better', because: 'more is better' }]

const start = (predictions: Predictions | undefined, more: Partial<SpecificationInput> = {}, run?: RunJob) =>
  study(
    fake.specification({ ...input, ...(predictions && { predictions }), ...more }),
    fake.options(),
    run ?? recorder(falling).run,
  )
const registrations = async (): Promise<readonly Registration[]> =>
  (await readResults(fake.file('out'), 'report')).registrations
const report = () => readFile(fake.file('out', 'report.md'), 'utf8')
const resultsOf = ({ predictions }: Awaited<ReturnType<typeof study>>) =>
  predictions.map(({ question, result, registered }) => [question, result, registered?.ended ?? null])

test('predictions are registered before the first run, with their hash and time, and emitted', async () => {
  const before = Date.now()
  let inFile: number | undefined
  const { run } = recorder(falling)
  await start(better, {}, async (...args) => {
    inFile ??= readStored<{ registrations: unknown[] }>(fake.file('out')).registrations.length
    return run(...args)
  })
  expect(inFile).toBe(1)
  const [registration, ...others] = await registrations()
  expect(others).toEqual([])
  expect(registration).toMatchObject({ ended: 0, protocol: { seeds: [1, 2, 3], capacity: 'train' } })
  expect(registration?.protocol.predictions).toEqual([{ ...better[0], of: 'all', contrasts: [['one', 'two']] }])
  const time = Date.parse(registration?.at ?? '')
  expect(time).toBeGreaterThanOrEqual(before)
  expect(time).toBeLessThanOrEqual(Date.now())
  // The hash as documented: SHA-256 of the protocol in JSON with sorted keys and without spaces (`jq -cjS`).
  const sorted = (value: unknown): unknown =>
    Array.isArray(value)
      ? value.map(sorted)
      : typeof value === 'object' && value !== null
        ? Object.fromEntries(
            Object.entries(value)
              .sort(([a], [b]) => (a < b ? -1 : 1))
              .map(([k, v]) => [k, sorted(v)]),
          )
        : value
  const hash = createHash('sha256')
    .update(JSON.stringify(sorted(registration?.protocol)))
    .digest('hex')
  expect(registration?.sha256).toBe(hash)
  expect(fake.of('predictions')).toMatchObject([{ sha256: hash, at: registration?.at, ended: 0, changes: 0 }])
})

test('a second start without a change registers nothing; a study without predictions has none, and no section', async () => {
  await start(better)
  const first = await registrations()
  await start(better)
  expect(await registrations()).toEqual(first)
  fake.events.length = 0
  const directory = fake.file('other')
  await study(fake.specification(input), fake.options({ directory }), recorder(falling).run)
  expect((await readResults(directory, 'report')).registrations).toEqual([])
  expect(fake.of('predictions')).toEqual([])
  expect(await readFile(fake.file('other', 'report.md'), 'utf8')).not.toContain('Predictions')
})

test('the report compares every prediction with what was found, in the tables for papers too', async () => {
  const predictions: Predictions = [
    ...better,
    { question: 'Three?', from: -0.25, to: -0.15 },
    { question: 'Three?', expect: 'worse' },
    { question: 'Two?', expect: 'equal', margin: 0.1008 },
  ]
  await start(predictions)
  const specification = await readSpecification(fake.file('out', 'study.yaml'))
  const outcome = await writeStudyReport(specification, fake.options({ paper: true }))
  expect(outcome.predictions).toMatchObject([
    { result: 'held', deciding: ['one', 'two'], difference: expect.closeTo(-0.1, 2) },
    { result: 'held', deciding: ['one', 'three'], difference: expect.closeTo(-0.2, 2) },
    { result: 'not held' },
    // The interval, −0.1013 to −0.1003, crosses the edge of the margin.
    { result: 'undecided' },
  ])
  const text = await report()
  expect(text).toContain('Of 4 predictions, 2 are held, 1 is not held and 1 is undecided.')
  expect(text).toContain('All were registered before the first result, and are unchanged since then.')
  const names = await readdir(fake.file('out', 'paper'))
  const tables = await Promise.all(
    names.filter((name) => name.endsWith('.csv')).map((name) => readFile(fake.file('out', 'paper', name), 'utf8')),
  )
  const rows = tables.flatMap(csvRecords).filter((row) => 'expected' in row && 'result' in row)
  expect(rows.map(({ prediction, expected, result }) => [prediction, expected, result])).toEqual([
    ['Two?', 'better', 'held'],
    ['Three?', '−0.25 to −0.15', 'held'],
    ['Three?', 'worse', 'not held'],
    ['Two?', 'equal, within 0.1008', 'undecided'],
  ])
  expect(Number(rows[0]?.found)).toBe(outcome.predictions[0]?.difference)
})

test('a change is a further entry with the results that there were, and the first entry stays', async () => {
  await start(better)
  const [first] = await registrations()
  const changed: Predictions = [...better, { question: 'Three?', expect: 'better' }]
  expect(resultsOf(await start(changed))).toEqual([
    ['Two?', 'held', 0],
    ['Three?', 'held', 9],
  ])
  const both = await registrations()
  expect(both).toMatchObject([first, { ended: 9, protocol: { predictions: [{}, { question: 'Three?' }] } }])
  expect(await report()).toContain('Added or changed after the first result: “Three?” (after 9 results).')

  // The first prediction is turned round: it counts from now, and its old wording is listed.
  const turned: Predictions = [{ question: 'Two?', expect: 'worse' }]
  expect(resultsOf(await start(turned))).toEqual([['Two?', 'not held', 9]])
  const text = await report()
  expect(text).toContain('2 earlier predictions were changed or withdrawn.')
  // Withdrawn tests count: two of the registered predictions are gone.
  expect(text).toContain(
    'for 3 tests: 1 of these predictions, and 2 of predictions that were changed or withdrawn after results.',
  )
  expect(text).toMatch(/\| Two\?.*\| better .*\| before the first result.*\| after 9 results/)

  // Back again: the gap stays visible, and its test counts once, beside those that are withdrawn now.
  expect(resultsOf(await start(better))).toEqual([['Two?', 'held', 9]])
  expect(await report()).toContain('for 3 tests: 1 of these predictions, and 2 of predictions')
  expect(await registrations()).toHaveLength(4)
  expect((await registrations())[0]).toEqual(first)
})

test('predictions that are removed are registered as removed, and stay in the report', async () => {
  await start(better)
  await start(undefined)
  expect(await registrations()).toMatchObject([{}, { ended: 9, protocol: { predictions: [] } }])
  const text = await report()
  expect(text).toContain('The study has no predictions now.')
  expect(text).toContain('1 earlier prediction was changed or withdrawn.')
})

test('a prediction counts anew if an arm in it gets other settings, and not if an arm elsewhere does', async () => {
  await start(better)
  const { arms } = input
  expect(resultsOf(await start(better, { arms: { ...arms, three: { 'model.moe.k': 4 } } }))).toEqual([
    ['Two?', 'held', 0],
  ])
  const other = await start(better, { arms: { ...arms, two: { 'model.moe.k': 2, 'model.moe.factor': 2 } } })
  expect(resultsOf(other)).toEqual([['Two?', 'held', 12]])
})

test('a change of seeds after results is reported', async () => {
  await start(better)
  expect(await report()).not.toContain('seeds were changed')
  await start(better, { seeds: [1, 2, 3, 4] })
  expect(await report()).toContain('The seeds were changed after 9 results: from 1, 2, 3 to 1, 2, 3, 4.')
  expect(resultsOf(await start(better, { seeds: [1, 2, 3, 4] }))).toEqual([['Two?', 'held', 0]])
})

test('a report alone registers nothing: predictions that were never started with are marked', async () => {
  await start(undefined)
  const specification = fake.specification({ ...input, predictions: better })
  const outcome = await writeStudyReport(specification, fake.options())
  expect(resultsOf(outcome)).toEqual([['Two?', 'held', null]])
  expect(await report()).toContain('Not registered: “Two?”; a prediction is registered when the study is started')
  expect(await registrations()).toEqual([])
})

test('processes that share a study register once', async () => {
  const specification = fake.specification({ ...input, predictions: better })
  const options: Partial<StudyOptions> = { join: true, jobs: 1 }
  await Promise.all([1, 2, 3].map(() => study(specification, fake.options(options), recorder(falling).run)))
  expect(await registrations()).toMatchObject([{ ended: 0 }])
  const shown = fake.of('predictions')
  expect(new Set(shown.map(({ at }) => at)).size).toBe(1)
  expect(shown).toHaveLength(3)
})

test('registrations of an uncompressed file and of results.json.gz are merged without repetitions', async () => {
  await start(better)
  await start([...better, { question: 'Three?', expect: 'better' }])
  const both = await registrations()
  expect(both).toHaveLength(2)
  const stored = readStored<{ registrations: unknown[] }>(fake.file('out'))
  await writeFile(fake.file('out', 'results.json'), JSON.stringify(stored))
  writeStored(fake.file('out'), JSON.stringify({ ...stored, registrations: stored.registrations.slice(0, 1) }))
  expect(await registrations()).toEqual(both)
})

test('a registration that was edited is refused, as an edited loss is', async () => {
  await start(better)
  type Stored = { registrations: Record<string, unknown>[] }
  const stored = readStored<Stored>(fake.file('out'))
  const [registration = {}] = stored.registrations
  const write = (entry: unknown) => writeStored(fake.file('out'), JSON.stringify({ ...stored, registrations: [entry] }))
  const refused = (message: RegExp) =>
    expect(writeStudyReport(fake.specification(input), fake.options())).rejects.toThrow(message)
  for (const change of [{ at: '2020-01-01T00:00:00.000Z' }, { ended: 1 }, { sha256: 'f' }, { protocol: {} }]) {
    write({ ...registration, ...change })
    await refused(/registration 1 of 1 was changed after it was written, its checksum is another: .*registered again/)
  }
  const { entry } = checked(registration)
  write(withChecksum({ ...entry, at: 'yesterday' }))
  await refused(/registration 1 of 1 is damaged: at: "yesterday"/)
})
