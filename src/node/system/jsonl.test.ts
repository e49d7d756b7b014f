import { appendFile, type FileHandle, mkdtemp, open, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { RunError } from '../../core/errors.ts'
import { AppendFile } from './append-file.ts'
import { jsonLine, readJsonLines } from './jsonl.ts'

let folder: string
let path: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'choir-jsonl-'))
  path = join(folder, 'metrics.jsonl')
})
afterEach(async () => {
  vi.restoreAllMocks()
  await rm(folder, { recursive: true })
})

async function read(): Promise<unknown[]> {
  const values: unknown[] = []
  for await (const value of readJsonLines(path)) values.push(value)
  return values
}

/** The class of file handles, whose methods are made to fail as on a full disk. */
async function fileHandleClass(): Promise<FileHandle> {
  const handle = await open(path, 'a')
  await handle.close()
  return Object.getPrototypeOf(handle) as FileHandle
}

const diskFull = () => Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })

test('appended records are read back in order, over several openings', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.dictionary(fc.string(), fc.jsonValue()), { maxLength: 20 }), async (records) => {
      await rm(path, { force: true })
      const half = records.length >> 1
      for (const part of [records.slice(0, half), records.slice(half)]) {
        const lines = await AppendFile.open(path)
        for (const record of part) lines.append(jsonLine(record))
        await lines.close()
      }
      const expected: unknown = JSON.parse(JSON.stringify(records))
      expect(await read()).toEqual(expected)
    }),
    { numRuns: 30 },
  )
})

test('lines longer than a read and cut inside a UTF-8 character are read completely', async () => {
  const records = [{ text: 'ü'.repeat(70_001) }, { text: '→'.repeat(50_000) }, { text: '' }]
  const lines = await AppendFile.open(path)
  for (const record of records) lines.append(jsonLine(record))
  await lines.close()
  expect(await read()).toEqual(records)
})

test('a line is one object and one newline; non-finite numbers are null', async () => {
  const lines = await AppendFile.open(path)
  lines.append(jsonLine({ step: 1, loss: Number.NaN, norms: [Number.POSITIVE_INFINITY, 2] }))
  await lines.sync()
  expect(await readFile(path, 'utf8')).toBe('{"step":1,"loss":null,"norms":[null,2]}\n')
  await lines.close()
})

test('a partial last line is ignored, wherever it is cut', async () => {
  await writeFile(path, '{"step":1}\n{"step":22}\n')
  for (let bytes = 22; bytes >= 11; bytes--) {
    await truncate(path, bytes)
    expect(await read()).toEqual([{ step: 1 }])
  }
})

test('a missing file has no lines, and a malformed complete line is reported', async () => {
  expect(await read()).toEqual([])
  await appendFile(path, '{"step":1}\n{"st\n{"step":3}\n')
  await expect(read()).rejects.toThrow('line 2 is not JSON: {"st')
})

test('a full disk is reported at flush and at the next append, and leaves only whole lines', async () => {
  const handles = await fileHandleClass()
  const original = handles.appendFile
  let left = 2
  vi.spyOn(handles, 'appendFile').mockImplementation(async function (this: FileHandle, data) {
    if (left-- > 0) return original.call(this, data)
    await original.call(this, (data as Buffer).subarray(0, 4))
    throw diskFull()
  })
  const lines = await AppendFile.open(path)
  for (let step = 1; step <= 5; step++) lines.append(jsonLine({ step }))
  const failure = await lines.flush().catch((error: unknown) => error)
  expect(failure).toBeInstanceOf(RunError)
  expect(String(failure)).toMatch(/cannot write .*metrics\.jsonl: the disk is full/)
  expect(() => lines.append(jsonLine({ step: 6 }))).toThrow(RunError)
  await expect(lines.close()).rejects.toThrow(RunError)
  expect(await readFile(path, 'utf8')).toBe('{"step":1}\n{"step":2}\n')
})
