import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { RunError } from '../../src/core/errors.ts'
import { Results, readJson, thisMachine, writeJson } from './results.ts'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'choir-results-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

interface Row {
  readonly routing: string
  readonly ms: number
}
const open = (threads?: number) =>
  Results.open<Row>(join(folder, 'some.json'), ({ routing }) => routing, thisMachine(threads))

test('a row is written immediately, and replaces only the row with its key', async () => {
  const first = await open()
  await first.put({ routing: 'top-1', ms: 1 })
  await first.put({ routing: 'dropless', ms: 2 })
  const second = await open()
  await second.put({ routing: 'top-1', ms: 3 })
  expect((await open()).rows).toEqual([
    { routing: 'top-1', ms: 3 },
    { routing: 'dropless', ms: 2 },
  ])
  expect((await open()).find('dropless')?.ms).toBe(2)
})

test('rows of another machine or thread count are discarded', async () => {
  const stderr = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  await writeFile(
    join(folder, 'some.json'),
    JSON.stringify({ machine: { cpu: 'Z80' }, rows: [{ routing: 'a', ms: 1 }] }),
  )
  expect((await open()).rows).toEqual([])
  expect(stderr.mock.calls.join()).toContain('Z80')
  const one = await open(1)
  await one.put({ routing: 'a', ms: 1 })
  expect((await open(1)).rows).toHaveLength(1)
  expect((await open(2)).rows).toEqual([])
  stderr.mockRestore()
})

test('a written value reads back equal, and lists of numbers are on one line', async () => {
  const file = join(folder, 'deep', 'curves.json')
  const value = { name: 'a, [1,\n 2]', loss: [1.5, -2e-9, null], rows: [{ x: [] }] }
  await writeJson(file, value)
  expect(await readJson(file)).toEqual(value)
  expect(await readFile(file, 'utf8')).toContain('"loss": [1.5, -2e-9, null]')
})

test('a missing file reads as undefined, a damaged one is an error that names it', async () => {
  const file = join(folder, 'some.json')
  expect(await readJson(file)).toBeUndefined()
  await writeFile(file, '{"rows": [')
  await expect(readJson(file)).rejects.toThrow(RunError)
  await expect(readJson(file)).rejects.toThrow('some.json')
})
