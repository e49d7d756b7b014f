import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { RunError } from '../../../core/errors.ts'
import {
  failureFile,
  parseRanks,
  RANKS_FILE,
  ranksText,
  readFailure,
  readRanks,
  removeRankFiles,
  writeFailure,
} from './files.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'choir-rank-files-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const roster = ['a', 'b'].map((host, rank) => ({ rank, host, pid: 7 + rank }))
const [first, second] = roster as [(typeof roster)[0], (typeof roster)[0]]

test('both files are read back as they were written, and have the documented form', async () => {
  writeFileSync(join(directory, 'config.json'), '{}')
  writeFileSync(join(directory, RANKS_FILE), ranksText(roster))
  writeFailure(directory, second, 'the disk is "full"')
  const json = (name: string): unknown => JSON.parse(readFileSync(join(directory, name), 'utf8'))
  expect(json('ranks.json')).toEqual({ ranks: roster })
  expect(json('failure.json')).toEqual({ rank: 1, host: 'b', pid: 8, reason: 'the disk is "full"' })
  expect(await readRanks(directory)).toEqual(roster)
  expect(await readFailure(directory)).toEqual({ ...second, reason: 'the disk is "full"' })
})

test('a failure that follows from what the run computes is marked, and its reason comes last', async () => {
  writeFileSync(join(directory, 'config.json'), '{}')
  writeFailure(directory, second, 'no memory', true)
  expect(readFileSync(failureFile(directory), 'utf8')).toBe(
    '{"rank":1,"host":"b","pid":8,"computed":true,"reason":"no memory"}\n',
  )
  expect(await readFailure(directory)).toEqual({ ...second, computed: true, reason: 'no memory' })
})

test('only the first failure is recorded, and none is recorded without a run', async () => {
  writeFailure(directory, first, 'too early')
  expect(existsSync(failureFile(directory))).toBe(false)
  writeFileSync(join(directory, 'config.json'), '{}')
  writeFailure(directory, second, 'first')
  writeFailure(directory, first, 'second')
  expect(await readFailure(directory)).toMatchObject({ rank: 1, reason: 'first' })
})

test.each([
  '',
  '{',
  'null',
  '[]',
  '{"rank":"1","host":"a","pid":-1,"reason":3}',
  '{"ranks":[{"rank":1,"host":"a","pid":1}]}',
  '{"ranks":[{"rank":0,"host":"a"}]}',
])('a damaged file counts as missing: %s', async (text) => {
  writeFileSync(join(directory, RANKS_FILE), text)
  writeFileSync(failureFile(directory), text)
  expect(parseRanks(text)).toEqual([])
  expect(await readRanks(directory)).toEqual([])
  expect(await readFailure(directory)).toBeNull()
})

test('a run without the files has neither ranks nor a failure', async () => {
  expect([await readRanks(directory), await readFailure(directory)]).toEqual([[], null])
})

test('the files of an earlier job are removed; an error names a folder in place of a file', async () => {
  writeFileSync(join(directory, RANKS_FILE), ranksText(roster))
  writeFileSync(failureFile(directory), '{}')
  await removeRankFiles(directory)
  expect([existsSync(join(directory, RANKS_FILE)), existsSync(failureFile(directory))]).toEqual([false, false])
  await removeRankFiles(join(directory, 'nowhere'))
  mkdirSync(failureFile(directory))
  const refusal = await removeRankFiles(directory).catch((error: unknown) => error)
  expect(refusal).toBeInstanceOf(RunError)
  expect((refusal as RunError).message).toMatch(
    /^cannot remove .*failure\.json: it is a folder, where a file is expected/,
  )
})
