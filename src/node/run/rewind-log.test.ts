import { link, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { lastStep, rewindLog } from './rewind-log.ts'

let folder: string
let path: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'choir-rewind-'))
  path = join(folder, 'metrics.jsonl')
})
afterEach(() => rm(folder, { recursive: true }))

const record = (step: number): string => JSON.stringify({ kind: 'train', step, loss: 1 / step })
const logOf = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('')
const steps = (from: number, to: number): string[] => Array.from({ length: to - from + 1 }, (_, i) => record(from + i))

test('records of later steps are cut off, also a record that is half written', async () => {
  const all = logOf(steps(1, 9))
  for (let length = logOf(steps(1, 4)).length; length <= all.length; length++) {
    await writeFile(path, all.slice(0, length))
    expect(await rewindLog(path, 4)).toBeNull()
    expect(await readFile(path, 'utf8')).toBe(logOf(steps(1, 4)))
  }
  expect(await readdir(folder)).toEqual(['metrics.jsonl'])
})

test('a line that cannot be read costs no other record, and the damaged log is kept in a second file', async () => {
  const damages = fc.oneof(
    fc.constantFrom('', '{}', '5', 'null', '[1]', '\0\0\0', '{"kind":"train","st', '{"kind":"train","step":"3"}'),
    // A record that claims a later step, between earlier ones.
    fc.constantFrom('{"kind":"train","step":99,"loss":1}', '{"kind":"train","step":99,"lo'),
    fc.string().map((text) => `x${text.replaceAll('\n', '')}`),
  )
  const cases = fc.tuple(fc.integer({ min: 2, max: 9 }), fc.integer({ min: 1, max: 8 }), damages)
  await fc.assert(
    fc.asyncProperty(cases, async ([step, at, damage]) => {
      fc.pre(at < step)
      for (const name of await readdir(folder)) await rm(join(folder, name))
      const lines = steps(1, 9).with(at - 1, damage)
      await writeFile(path, logOf(lines))
      const warning = await rewindLog(path, step)
      const kept = steps(1, step).filter((_, i) => i !== at - 1)
      expect((await readFile(path, 'utf8')).split('\n').filter((line) => line !== '')).toEqual(kept)
      // An empty line holds no record, so nothing is lost.
      if (damage.trim() === '') expect(warning).toBeNull()
      else {
        expect(warning).toMatch(/: 1 line cannot be read\. The file as it was is now metrics\.jsonl\.damaged$/)
        expect(await readFile(`${path}.damaged`, 'utf8')).toBe(logOf(lines))
      }
    }),
    { numRuns: 60 },
  )
})

test('a lost line break costs no record that can be read, and each damaged log is kept under a name of its own', async () => {
  for (const name of ['metrics.jsonl.damaged', 'metrics.jsonl.damaged-2']) {
    const joined = `${logOf(steps(1, 3))}${record(4)}X${record(5)}\n`
    await writeFile(path, joined)
    expect(await rewindLog(path, 4)).toContain(`is now ${name}`)
    expect(await readFile(path, 'utf8')).toBe(logOf(steps(1, 3)))
    expect(await readFile(join(folder, name), 'utf8')).toBe(joined)
  }
})

test('zeros at the end, more than a string can hold, are cut off', async () => {
  const good = logOf(steps(1, 4))
  await writeFile(path, good)
  await truncate(path, 550e6)
  expect(await lastStep(path)).toBe(4)
  expect(await rewindLog(path, 4)).toBeNull()
  expect(await readFile(path, 'utf8')).toBe(good)
})

test('a hard link to the log, such as a backup, keeps the old contents', async () => {
  const all = logOf(steps(1, 9))
  await writeFile(path, all)
  await link(path, join(folder, 'backup'))
  expect(await rewindLog(path, 4)).toBeNull()
  expect(await readFile(path, 'utf8')).toBe(logOf(steps(1, 4)))
  expect(await readFile(join(folder, 'backup'), 'utf8')).toBe(all)
})

test('a missing log stays missing', async () => {
  expect(await rewindLog(path, 4)).toBeNull()
  expect(await readdir(folder)).toEqual([])
})
