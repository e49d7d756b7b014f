import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { RunError } from '../../../core/errors.ts'
import { floatsOf } from '../../../engine/contract/arena.ts'
import { arenaOf } from '../../../engine/native/cpu-arena.ts'
import { writeChecked } from '../../../node/run/checkpoint/checked-file.ts'
import { readSafetensors } from '../../../node/run/checkpoint/tensor-files.ts'
import type { NamedTensor } from '../../step/store/named-tensors.ts'
import { indexFile, type StoredTensor, shardFiles, shardsOf, storedTensors } from './safetensors.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'choir-safetensors-'))
})
afterEach(() => rm(folder, { recursive: true }))

async function write(tensors: readonly NamedTensor[], shardBytes = 2 ** 32): Promise<string[]> {
  const shards = shardsOf(storedTensors(tensors), shardBytes)
  const files = shardFiles('model', shards)
  const sizes = (shard: readonly StoredTensor[]) => shard.map(({ name, byteLength }) => ({ name, bytes: byteLength }))
  if (files.length > 1)
    files.push(indexFile('model', Object.fromEntries(shards.map((shard, i) => [files[i]?.name, sizes(shard)]))))
  for (const file of files) await writeChecked(join(folder, file.name), file)
  return files.map(({ name }) => name)
}

function tensor(name: string, shape: readonly number[], values: readonly number[]): NamedTensor {
  const arena = arenaOf({ buffer: new SharedArrayBuffer(values.length * 4) })
  const range = { arena, start: 0, count: values.length }
  floatsOf(range).set(values)
  return { name, shape, range }
}
const dataOf = ({ range }: NamedTensor): Float32Array => floatsOf(range)

/** Adjacent ranges of one arena, as in a parameter store. */
function arenaRanges(shapes: readonly (readonly number[])[], fill: (i: number) => number): NamedTensor[] {
  const sizes = shapes.map((shape) => shape.reduce((a, b) => a * b, 1))
  const total = sizes.reduce((a, b) => a + b, 0)
  const arena = arenaOf({ buffer: new SharedArrayBuffer(4 * total) })
  floatsOf({ arena, start: 0, count: total }).forEach((_, i, all) => {
    all[i] = fill(i)
  })
  let offset = 0
  return shapes.map((shape, i) => {
    const count = sizes[i] as number
    const range = { arena, start: offset, count }
    offset += count
    return { name: `tensors.${i}`, shape, range }
  })
}

const blank = (tensors: readonly NamedTensor[]) =>
  arenaRanges(
    tensors.map(({ shape }) => shape),
    () => 0,
  ).map((view, i) => ({ ...view, name: (tensors[i] as NamedTensor).name }))

test('a file matches the format byte for byte', async () => {
  await write([tensor('w', [2, 1], [1, -2]), tensor('b', [], [0.5])])
  const bytes = await readFile(join(folder, 'model.safetensors'))
  const length = Number(bytes.readBigUInt64LE())
  expect(length % 8).toBe(0)
  expect(JSON.parse(bytes.toString('utf8', 8, 8 + length))).toEqual({
    __metadata__: { format: 'pt' },
    w: { dtype: 'F32', shape: [2, 1], data_offsets: [0, 8] },
    b: { dtype: 'F32', shape: [], data_offsets: [8, 12] },
  })
  // 1, −2 and 0.5 in IEEE 754, least significant byte first.
  expect(bytes.toString('hex', 8 + length)).toBe('0000803f000000c00000003f')
})

test('a file written by hand is read, for any order of its header', async () => {
  const header =
    '{"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
  const length = Buffer.alloc(8)
  length.writeUInt8(header.length)
  await writeFile(
    join(folder, 'model.safetensors'),
    Buffer.concat([length, Buffer.from(header), Buffer.from('0000803f000000c00000003f', 'hex')]),
  )
  const views = [tensor('a', [2], [0, 0]), tensor('b', [1], [0])]
  await readSafetensors(folder, 'model', views)
  expect(views.map((view) => [...dataOf(view)])).toEqual([[1, -2], [0.5]])
})

test('tensors are read back bit for bit, from one file or from shards', async () => {
  const shape = fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 3 })
  await fc.assert(
    fc.asyncProperty(fc.array(shape, { maxLength: 12 }), fc.integer({ min: 1, max: 400 }), async (shapes, limit) => {
      for (const name of await readdir(folder)) await rm(join(folder, name))
      const tensors = arenaRanges(shapes, (i) => Math.sin(i) * 1e-3)
      const names = await write(tensors, limit)
      const views = blank(tensors)
      await readSafetensors(folder, 'model', views)
      expect(views.map(dataOf)).toEqual(tensors.map(dataOf))
      const bytes = tensors.reduce((sum, { range }) => sum + range.count * 4, 0)
      if (bytes <= limit) expect(names).toEqual(['model.safetensors'])
    }),
    { numRuns: 40 },
  )
})

test('tensors larger than a buffer, and many that share one, are read back', async () => {
  const shapes = [[3], [1_500_000], ...Array.from({ length: 3000 }, () => [7]), [2, 600_000]]
  const tensors = arenaRanges(shapes, (i) => i % 8191)
  await write(tensors)
  const views = blank(tensors)
  await readSafetensors(folder, 'model', views)
  expect(views.every((view, i) => Buffer.compare(bytesOf(view), bytesOf(tensors[i] as NamedTensor)) === 0)).toBe(true)
})

function bytesOf(tensor: NamedTensor): Buffer {
  const { buffer, byteOffset, byteLength } = dataOf(tensor)
  return Buffer.from(buffer, byteOffset, byteLength)
}

test('data that begins at any byte is read, though numbers are in several buffers', async () => {
  const count = 2_100_000
  const expected = Float32Array.from({ length: count }, (_, i) => Math.sin(i))
  const data = Buffer.from(expected.buffer)
  for (const odd of [1, 2, 3]) {
    const header = JSON.stringify({ a: { dtype: 'F32', shape: [count], data_offsets: [0, data.length] } })
    const padded = header.padEnd(header.length + 8 - ((header.length + 8) % 8) + odd)
    const length = Buffer.alloc(8)
    length.writeUInt8(padded.length)
    await writeFile(join(folder, 'model.safetensors'), Buffer.concat([length, Buffer.from(padded), data]))
    const a = tensor('a', [count], new Array<number>(count).fill(0))
    await readSafetensors(folder, 'model', [a])
    expect(bytesOf(a).equals(data)).toBe(true)
  }
})

test('tensors between bytes of another type are read, where a number begins in one buffer and ends in the next', async () => {
  const values = Float32Array.from({ length: 2_000_000 }, (_, i) => Math.cos(i))
  const [bytes, half] = [Buffer.from(values.buffer), values.length / 2]
  const header = JSON.stringify({
    a: { dtype: 'F32', shape: [half], data_offsets: [0, 4 * half] },
    elsewhere: { dtype: 'U8', shape: [3], data_offsets: [4 * half, 4 * half + 3] },
    b: { dtype: 'F32', shape: [half], data_offsets: [4 * half + 3, 8 * half + 3] },
  })
  const length = Buffer.alloc(8)
  length.writeUInt16LE(header.length)
  const parts = [length, Buffer.from(header), bytes.subarray(0, 4 * half), Buffer.alloc(3), bytes.subarray(4 * half)]
  await writeFile(join(folder, 'model.safetensors'), Buffer.concat(parts))
  const read = ['a', 'b'].map((name) => tensor(name, [half], new Array<number>(half).fill(0)))
  await readSafetensors(folder, 'model', read, { elsewhere: new Set(['elsewhere']) })
  expect(Buffer.concat(read.map(bytesOf)).equals(bytes)).toBe(true)
})

test('shards and their index have the names that Hugging Face uses', async () => {
  const tensors = [
    tensor('a', [2], [1, 2]),
    tensor('b', [2], [3, 4]),
    tensor('c', [1], [5]),
    tensor('d', [9], Array(9).fill(6)),
  ]
  const names = await write(tensors, 16)
  expect(names).toEqual([
    'model-00001-of-00003.safetensors',
    'model-00002-of-00003.safetensors',
    'model-00003-of-00003.safetensors',
    'model.safetensors.index.json',
  ])
  expect(JSON.parse(await readFile(join(folder, 'model.safetensors.index.json'), 'utf8'))).toEqual({
    metadata: { total_size: 56 },
    weight_map: {
      a: 'model-00001-of-00003.safetensors',
      b: 'model-00001-of-00003.safetensors',
      c: 'model-00002-of-00003.safetensors',
      d: 'model-00003-of-00003.safetensors',
    },
  })
})

test('a missing, extra or misshaped tensor is named, and no view is written', async () => {
  await write([tensor('a', [2, 3], [1, 2, 3, 4, 5, 6]), tensor('b', [1], [7])])
  const a = () => tensor('a', [2, 3], [0, 0, 0, 0, 0, 0])
  const b = () => tensor('b', [1], [0])
  const cases: [NamedTensor[], RegExp][] = [
    [[a(), b(), tensor('layers.1.c', [1], [0])], /lacks layers\.1\.c/],
    [[a()], /holds b, which this model does not have/],
    [[tensor('a', [3, 2], [0, 0, 0, 0, 0, 0]), b()], /a has shape \[2, 3\] \(this model has \[3, 2\]\)/],
  ]
  for (const [tensors, message] of cases) {
    const failure = await readSafetensors(folder, 'model', tensors).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(RunError)
    expect(String(failure)).toMatch(message)
    for (const each of tensors) expect(dataOf(each).every((value) => value === 0)).toBe(true)
  }
})

test('a damaged header is reported and never gives a wrong tensor', async () => {
  const path = join(folder, 'model.safetensors')
  await write([tensor('a', [2], [1, 2])])
  const good = await readFile(path)
  const edit = (from: string, to: string) => Buffer.from(good.toString('latin1').replace(from, to), 'latin1')
  for (const bytes of [
    good.subarray(0, 5),
    good.subarray(0, 30),
    good.subarray(0, good.length - 1),
    Buffer.concat([good, Buffer.alloc(4)]),
    edit('[2]', '[3]'),
    edit('[0,8]', '[4,8]'),
    edit('[0,8]', '[-1,8]'),
    edit('"F32"', '"F16"'),
    edit('{', 'x'),
  ]) {
    await writeFile(path, bytes)
    await expect(readSafetensors(folder, 'model', [tensor('a', [2], [0, 0])])).rejects.toThrow(RunError)
  }
})

test('duplicate names and wrong lengths are internal errors', () => {
  expect(() => shardsOf(storedTensors([tensor('a', [1], [1]), tensor('a', [1], [2])]), 99)).toThrow('internal:')
  expect(() => storedTensors([tensor('a', [2], [1])])).toThrow('internal:')
})

test('codes of two bytes or one byte keep every bit, and are not read as another type', async () => {
  const random = Uint32Array.from({ length: 64 }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >>> 0)
  // Some patterns are not a number as float32.
  random[3] = 0x7fa00001
  const codes = (dtype: 'BF16' | 'U8'): NamedTensor => {
    const { range } = tensor('', [64], [...Array(64).keys()])
    return { name: `codes ${dtype}`, dtype, shape: dtype === 'U8' ? [64, 4] : [64, 2], range }
  }
  const written = (['BF16', 'U8'] as const).map(codes)
  const bits = (of: NamedTensor) => new Uint32Array(dataOf(of).buffer)
  for (const each of written) bits(each).set(random)
  await write(written)
  const read = (['BF16', 'U8'] as const).map(codes)
  await readSafetensors(folder, 'model', read)
  for (const each of read) expect(bits(each)).toEqual(random)
  const [first] = written as [NamedTensor]
  const floats = { ...tensor('codes BF16', [64, 2], [...Array(128).keys()]) }
  await rm(folder, { recursive: true })
  folder = await mkdtemp(join(tmpdir(), 'choir-safetensors-'))
  await write([first])
  await expect(readSafetensors(folder, 'model', [floats])).rejects.toThrow('codes BF16 has dtype BF16 (expected F32)')
})
