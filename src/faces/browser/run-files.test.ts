import { zipSync } from 'fflate'
import { expect, test } from 'vitest'
import { UsageError } from '../../core/errors.ts'
import { bytesOf, textOf, unzipRun, zipRun } from './run-files.ts'

test('a run comes out of its zip file as it went in, even if its logs compress well', () => {
  const line = '{"kind":"train","step":1,"tokens":128,"loss":6.2}\n'
  const files = new Map([
    ['config.json', bytesOf('{}')],
    ['metrics.jsonl', bytesOf(line.repeat(200_000))],
    ['checkpoints/step-00000001/model.safetensors', new Uint8Array(1000)],
  ])
  const unzipped = unzipRun(zipRun(files))
  expect([...unzipped.keys()]).toEqual([...files.keys()])
  // vitest's own comparison takes minutes.
  for (const [path, contents] of files) expect(Buffer.compare(unzipped.get(path) ?? bytesOf(''), contents)).toBe(0)
})

test('a run in a folder of the zip file is found', () => {
  const files = unzipRun(zipSync({ 'runs/one/config.json': bytesOf('{}'), 'runs/other.txt': bytesOf('x') }))
  expect([...files].map(([path, contents]) => [path, textOf(contents)])).toEqual([['config.json', '{}']])
})

test.each([
  ['one file', { 'config.json': new Uint8Array(80 * 2 ** 20) }],
  ['many files', Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`${i}.txt`, new Uint8Array(4 * 2 ** 20)]))],
])('a zip file that would fill the memory is refused before it is decompressed: %s', (_, files) => {
  const zip = zipSync({ ...files, 'run/config.json': bytesOf('{}') })
  expect(zip.length).toBeLessThan(2 ** 18)
  expect(() => unzipRun(zip)).toThrow(UsageError)
  expect(() => unzipRun(zip)).toThrow(/^invalid run: the zip file of [\d.]+ kB holds more than [\d.]+ MB, which no run/)
})

test.each([
  ['claims 4 GB', 24],
  ['has no files', 10],
])('a zip file whose directory %s is refused', (_, at) => {
  const zip = zipSync({ 'config.json': bytesOf('{}') })
  const view = new DataView(zip.buffer, zip.byteOffset, zip.byteLength)
  // The records of the central directory begin with PK\1\2, and its end with PK\5\6.
  const isEnd = at === 10
  const record = zip.findIndex((byte, i) => byte === 0x50 && zip[i + 1] === 0x4b && zip[i + 2] === (isEnd ? 5 : 1))
  if (isEnd) view.setUint32(record + 8, 0, true)
  else view.setUint32(record + at, 0xff_ff_ff_fe, true)
  expect(() => unzipRun(zip)).toThrow(UsageError)
})
