/**
 * GGUF files with blocks of every type, and in several files, give the logits of one file with the same numbers in float32.
 * That the numbers are right is tested in `src/use/foreign/decode`.
 *
 * @slow
 */
import { readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createRuntime } from '../../src/engine/cpu/cpu-runtime.ts'
import { temporaryFolder } from '../../src/node/data/testing/temporary-folder.ts'
import { decodedTypes, decoderOf } from '../../src/use/foreign/decode/decoder.ts'
import { ggufPaths } from '../../src/use/foreign/gguf/parts.ts'
import { randomBlocks } from '../../src/use/foreign/testing/random-blocks.ts'
import type { GgufValue } from '../../src/use/interchange/export/gguf/file.ts'
import { ownLogits } from '../../src/use/interchange/export/logits.ts'
import { findModel } from '../../src/use/runs/stored-model.ts'
import { loadModel } from '../../src/use/runs/trained-model.ts'
import { type TensorBytes, writeMixtral } from './gguf-files.ts'

const { make } = temporaryFolder()
const runtime = await createRuntime({ threads: 1 })
afterAll(() => runtime.close())

const sizeOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1)
const isVector = (name: string, shape: readonly number[]): boolean =>
  shape.length === 1 || name.includes('ffn_gate_inp')

/** Each matrix has another type. */
function inBlocks(name: string, shape: readonly number[]): TensorBytes {
  const place = [...name].reduce((sum, character) => sum + character.charCodeAt(0), 0)
  const dtype = isVector(name, shape) ? 'F32' : (decodedTypes[place % decodedTypes.length] as string)
  return { dtype, bytes: randomBlocks(dtype, sizeOf(shape) / decoderOf(dtype).block, 1) }
}

function inFull(name: string, shape: readonly number[]): TensorBytes {
  const { dtype, bytes } = inBlocks(name, shape)
  const values = new Float32Array(sizeOf(shape))
  decoderOf(dtype).decode(bytes.slice().buffer, values)
  return { dtype: 'F32', bytes: new Uint8Array(values.buffer) }
}

async function logitsOf(path: string): Promise<Float32Array> {
  const model = await loadModel(path, { threads: 1 }, () => {})
  try {
    const tokens = Int32Array.from({ length: 12 }, (_, i) => 260 + i * 17)
    return await ownLogits(model.runtime, model.config.model, model.store, tokens)
  } finally {
    await model.close()
  }
}

let expected: Float32Array
beforeAll(async () => {
  const path = join(make(), 'full.gguf')
  await writeMixtral(path, inFull)
  expected = await logitsOf(path)
})

test('a file with matrices of all types has the logits of its numbers in float32', async () => {
  const path = join(make(), 'blocks.gguf')
  await writeMixtral(path, inBlocks)
  expect(await logitsOf(path)).toEqual(expected)
})

test('a file that ends within a block, and rows that are no whole blocks, are refused', async () => {
  const path = join(make(), 'model.gguf')
  await writeMixtral(path, (name, shape) =>
    isVector(name, shape)
      ? inBlocks(name, shape)
      : { dtype: 'Q4_K', bytes: randomBlocks('Q4_K', sizeOf(shape) / 256, 1) },
  )
  const bytes = readFileSync(path)
  // More than the bytes after the last tensor.
  truncateSync(path, bytes.length - 100)
  await expect(logitsOf(path)).rejects.toThrow(/output\.weight ends at byte .* \(is its download complete\?\)/)
  // The first dimension in the file is the length of a row.
  bytes.writeBigUInt64LE(128n, bytes.indexOf('blk.0.attn_q.weight') + 'blk.0.attn_q.weight'.length + 4)
  writeFileSync(path, bytes)
  await expect(logitsOf(path)).rejects.toThrow(
    /is damaged: rows of blk\.0\.attn_q\.weight have 128 numbers, which are no blocks of 256/,
  )
})

describe('a model in three files', () => {
  const write = async (): Promise<string[]> => {
    const paths = ggufPaths(join(make(), 'mixtral-00001-of-00003.gguf'))
    for (const [i, path] of paths.entries()) {
      const value = (number: number): GgufValue => ({ type: 'uint32', value: number })
      const metadata = { 'split.no': value(i), 'split.count': value(3), 'split.tensors.count': value(23) }
      // The first file has no tensors, as with --no-tensor-first-split.
      const has = (name: string) => i > 0 && name.startsWith('blk.0') === (i === 1)
      await writeMixtral(path, inBlocks, { metadata, has })
    }
    return paths
  }

  test('has the logits of one file, by the path of the first, and a change of each file is noticed', async () => {
    const paths = await write()
    expect(paths.map((path) => basename(path))).toEqual([
      'mixtral-00001-of-00003.gguf',
      'mixtral-00002-of-00003.gguf',
      'mixtral-00003-of-00003.gguf',
    ])
    const first = paths[0] as string
    expect(await logitsOf(first)).toEqual(expected)
    const { files } = await findModel(first, {}, undefined, () => {})
    const before = await files?.state()
    writeFileSync(paths[2] as string, readFileSync(paths[2] as string))
    expect(await files?.state()).not.toBe(before)
  })

  test('is refused by another name, or if a file is missing, damaged or of another model', async () => {
    const [first, second, third] = (await write()) as [string, string, string]
    await expect(logitsOf(second)).rejects.toThrow(
      /is file 2 of the 3 files of a model \(expected the path of the first\)/,
    )
    const bytes = readFileSync(third)
    truncateSync(third, bytes.length - 100)
    await expect(logitsOf(first)).rejects.toThrow(/-00003-of-00003\.gguf is damaged: output.* download complete/)
    writeFileSync(third, readFileSync(second))
    await expect(logitsOf(first)).rejects.toThrow(
      /-00003-of-00003\.gguf is file 2 of 3 by its metadata \(expected file 3/,
    )
    rmSync(third)
    await expect(logitsOf(first)).rejects.toThrow(/cannot read .*-00003-of-00003\.gguf/)
    const other = first.replace('-00001-of-00003', '')
    renameSync(first, other)
    await expect(logitsOf(other)).rejects.toThrow(
      /is one of 3 files of a model, and its name does not end with -00001-of-00003\.gguf/,
    )
  })
})
