/** Results on disk: which files are read, and which are refused and left unchanged. */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { NUMERICS } from '../grid/numerics.ts'
import { runStudy, studyOf } from '../runs/run-study.ts'
import { FakeStudy, recorder } from '../testing/fake-study.ts'
import { readStored, writeStored } from '../testing/stored.ts'
import { checked, withChecksum } from './checksum.ts'
import { Ledger } from './ledger.ts'

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

const specification = () => fake.specification(input)
const folder = () => fake.file('out')

/** Runs a study and changes its results. Checksums match the change, as if an older program had written the results. */
async function damaged(change: (stored: Stored) => unknown): Promise<string> {
  await runStudy(specification(), fake.options(), recorder().run)
  const stored = readStored<Stored>(folder())
  change(stored)
  const records = stored.records.map((record) => record && withChecksum(checked(record).entry))
  const text = JSON.stringify({ ...stored, records })
  writeStored(folder(), text)
  return text
}

/** Expects a study, and by default its report, to be refused, and the files not to change. */
async function expectRefused(name: string, message: RegExp, reports = true): Promise<void> {
  const before = await filesIn(folder())
  const { jobs, run } = recorder()
  for (const attempt of [
    () => runStudy(specification(), fake.options(), run),
    ...(reports ? [() => studyOf(specification(), fake.options())] : []),
  ])
    await expect(attempt()).rejects.toMatchObject({ name, message: expect.stringMatching(message) })
  expect(jobs).toHaveLength(0)
  expect(await filesIn(folder())).toEqual(before)
}

/** The bytes of all files, by their path. */
async function filesIn(directory: string): Promise<Record<string, string>> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name))
  return Object.fromEntries(
    await Promise.all(
      files.map(async (file) => [relative(directory, file), (await readFile(file)).toString('latin1')] as const),
    ),
  )
}

describe('a results file is refused and left unchanged', () => {
  const invalid = ['{"format": 2, "rec', '{"format": 99, "records": []}', '{"records": []}', 'null', '[]', '']
  test.each(invalid)('if it is not valid: %j', async (text) => {
    writeStored(folder(), text)
    await expectRefused('RunError', /cannot read .*results\.json\.gz: .*move it away/)
    await rm(fake.file('out', 'results.json.gz'))
    await writeFile(fake.file('out', 'results.json'), text)
    await expectRefused('RunError', /cannot read .*results\.json: .*move it away/)
  })

  test('if it is not gzip, is cut off, or has a wrong byte', async () => {
    await damaged(() => {})
    const file = fake.file('out', 'results.json.gz')
    const bytes = await readFile(file)
    const wrong = Buffer.from(bytes)
    wrong.writeUInt8(wrong.readUInt8(wrong.length >> 1) ^ 255, wrong.length >> 1)
    for (const other of [Buffer.from('{}'), bytes.subarray(0, bytes.length >> 1), wrong]) {
      await writeFile(file, other)
      await expectRefused('RunError', /cannot read .*results\.json\.gz: .*move it away/)
    }
  })

  test.each<[string, (stored: Stored) => unknown]>([
    ['is null', ({ records }) => void records.splice(1, 1, null as unknown as Record<string, unknown>)],
    ['has no key', ({ records }) => void delete records[1]?.key],
    ['has no configuration', ({ records }) => void delete records[1]?.config],
    ['has no version', ({ records }) => void delete records[1]?.version],
    ['has no status', ({ records }) => void delete records[1]?.status],
  ])('if one of its records %s', async (_, change) => {
    await damaged(change)
    await expectRefused('RunError', /cannot read .*: record 2 of 2 is damaged/)
  })

  test('if its format had no versions yet; the message lists the changes since then', async () => {
    await damaged((stored) => {
      stored.format = 1
      for (const record of stored.records) delete record.version
    })
    await expectRefused('UsageError', /older program.*initial scales.*order in which experts.*another directory/s)
  })

  test('if one of its records has older numerics', async () => {
    await damaged(({ records }) => void Object.assign(records[1] ?? {}, { version: NUMERICS - 1 }))
    await expectRefused('UsageError', /older program/)
  })

  test('if one of its records has newer numerics', async () => {
    await damaged(({ records }) => void Object.assign(records[0] ?? {}, { version: NUMERICS + 1 }))
    await expectRefused('UsageError', /newer program.*update Choir/)
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
