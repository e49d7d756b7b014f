/** Results on disk: which are read, and which are refused and not changed. */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { runStudy, studyOf } from '../runs/run-study.ts'
import { FakeStudy, recorder } from '../testing/fake-study.ts'
import { checked, withChecksum } from './checksum.ts'
import { Ledger } from './ledger.ts'
import { NUMERICS } from './numerics.ts'

let fake: FakeStudy
beforeEach(async () => {
  fake = await FakeStudy.open()
  await mkdir(fake.file('out'))
})
afterEach(() => fake.close())

const input = { arms: { a: {}, b: { 'model.moe.k': 2 } }, seeds: [1] }

interface Stored {
  format: number
  records: Record<string, unknown>[]
}

/** Runs a study and changes its results.json; checksums are those of what it has then, as an older program wrote it. */
async function damaged(change: (stored: Stored) => unknown): Promise<string> {
  await runStudy(fake.specification(input), fake.options(), recorder().run)
  const file = fake.file('out', 'results.json')
  const stored = JSON.parse(await readFile(file, 'utf8')) as Stored
  change(stored)
  const records = stored.records.map((record) => record && withChecksum(checked(record).entry))
  const text = JSON.stringify({ ...stored, records })
  await writeFile(file, text)
  return text
}

/** Expects a study and its report to be refused, and the file not to change. */
async function expectRefused(text: string, name: string, message: RegExp): Promise<void> {
  const { jobs, run } = recorder()
  for (const attempt of [
    () => runStudy(fake.specification(input), fake.options(), run),
    () => studyOf(fake.specification(input), fake.options()),
  ])
    await expect(attempt()).rejects.toMatchObject({ name, message: expect.stringMatching(message) })
  expect(jobs).toHaveLength(0)
  expect(await readFile(fake.file('out', 'results.json'), 'utf8')).toBe(text)
}

describe('a results.json is refused and not changed', () => {
  test.each(['{"format": 2, "rec', '{"format": 99, "records": []}', '{"records": []}', 'null', '[]', ''])(
    'that is not valid: %j',
    async (text) => {
      await writeFile(fake.file('out', 'results.json'), text)
      await expectRefused(text, 'RunError', /cannot read .*results\.json: .*move it away/)
    },
  )

  test.each<[string, (stored: Stored) => unknown]>([
    ['is null', ({ records }) => void records.splice(1, 1, null as unknown as Record<string, unknown>)],
    ['has no key', ({ records }) => void delete records[1]?.key],
    ['has no configuration', ({ records }) => void delete records[1]?.config],
    ['has no version', ({ records }) => void delete records[1]?.version],
    ['has no status', ({ records }) => void delete records[1]?.status],
  ])('of which a record %s', async (_, change) => {
    const text = await damaged(change)
    await expectRefused(text, 'RunError', /cannot read .*: record 2 of 2 is damaged/)
  })

  test('of the format before versions, with what has changed since', async () => {
    const text = await damaged((stored) => {
      stored.format = 1
      for (const record of stored.records) delete record.version
    })
    await expectRefused(text, 'UsageError', /older program.*initial scales.*order in which experts.*another --out/s)
  })

  test('of which one record is of older numerics', async () => {
    const text = await damaged(({ records }) => void Object.assign(records[1] ?? {}, { version: NUMERICS - 1 }))
    await expectRefused(text, 'UsageError', /older program/)
  })

  test('of newer numerics', async () => {
    const text = await damaged(({ records }) => void Object.assign(records[0] ?? {}, { version: NUMERICS + 1 }))
    await expectRefused(text, 'UsageError', /newer program.*update Choir/)
  })
})

test('a folder without results has an empty ledger', async () => {
  expect((await Ledger.open(fake.file('out'))).timings).toEqual([])
})

test('a note counts the runs of another machine', async () => {
  await damaged(({ records }) => void Object.assign(records[0] ?? {}, { machine: 'Another CPU' }))
  const { jobs, run } = recorder()
  await runStudy(fake.specification({ ...input, seeds: [1, 2] }), fake.options(), run)
  expect(jobs).toHaveLength(2)
  expect(fake.of('note').map(({ message }) => message)).toEqual([
    expect.stringMatching(/^1 of 4 runs were done on another machine/),
  ])
})
