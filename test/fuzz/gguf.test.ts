/** @slow */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { tokenizerFromJson } from '../../src/node/data/tokenizer/native-tokenizer.ts'
import { decoderOf } from '../../src/use/foreign/decode/decoder.ts'
import { openForeignTokenizer, openForeignWeights } from '../../src/use/foreign/foreign-model.ts'
import { readGgufModel } from '../../src/use/foreign/gguf/gguf-model.ts'
import type { GgufValue } from '../../src/use/foreign/gguf/header.ts'
import { Metadata } from '../../src/use/foreign/gguf/metadata.ts'
import { ggufTokenizerOf } from '../../src/use/foreign/gguf/tokenizer.ts'
import { randomBlocks } from '../../src/use/foreign/testing/random-blocks.ts'
import { sentencePieceMetadata, smallVocabulary } from '../../src/use/foreign/testing/sentencepiece.ts'
import { type TensorBytes, writeMixtral } from '../interchange/gguf-files.ts'
import { fuzzTimeout, runs } from '../support/soak.ts'
import { faultOf, outcomeOf } from './outcome.ts'
import { changed, damaged } from './values.ts'

let folder: string
let path: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'choir-fuzz-'))
  path = join(folder, 'model.gguf')
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const tokenizer = Object.fromEntries(
  Object.entries(sentencePieceMetadata(smallVocabulary(20))).map(([key, { value }]) => [key, value]),
)

function blocks(name: string, shape: readonly number[]): TensorBytes {
  const dtype = shape.length === 1 || name.includes('ffn_gate_inp') ? 'F32' : 'Q4_K'
  const { block } = decoderOf(dtype)
  return { dtype, bytes: randomBlocks(dtype, shape.reduce((product, size) => product * size, 1) / block, 1) }
}

/** Opens a file, and reads a matrix and a vector. */
async function open(): Promise<void> {
  const model = await readGgufModel(path)
  await openForeignTokenizer(path, model, model.model.vocabulary).encode('the cat, é')
  const weights = await openForeignWeights(path, model)
  try {
    const { width, vocabulary } = model.model
    await weights.read({ name: 'norm', shape: [width] })
    await weights.read({ name: 'embedding', shape: [vocabulary, width] })
  } finally {
    await weights.close()
  }
}

test(
  'a GGUF file with a damaged header, or cut in its blocks, is refused with a message, or read',
  async () => {
    await writeMixtral(path, blocks)
    const whole = readFileSync(path)
    expect(await outcomeOf(open)).toEqual({ code: 0, stderr: '' })
    const { tensors, close } = await (await readGgufModel(path)).open()
    const start = Math.min(...[...tensors.values()].map(({ entry }) => entry.begin))
    await close()
    const [header, data] = [whole.subarray(0, start), whole.subarray(start)]
    const length = fc.oneof(fc.constant(data.length), fc.nat({ max: data.length }))
    await fc.assert(
      fc.asyncProperty(damaged(header), length, async (bytes, kept) => {
        writeFileSync(path, Buffer.concat([bytes, data.subarray(0, kept)]))
        expect(faultOf(await outcomeOf(open))).toBeNull()
      }),
      runs(100),
    )
  },
  fuzzTimeout,
)

test(
  'a SentencePiece tokenizer with any other value in its metadata is refused with a message, or tokenizes',
  async () => {
    const use = async (values: Record<string, GgufValue>) => {
      const metadata = new Metadata('model.gguf', new Map(Object.entries(values)))
      const { json, rules } = ggufTokenizerOf('model.gguf', metadata, 10_000)
      await tokenizerFromJson(json, 'model.gguf', rules).encode('the cat, é  <s>')
    }
    expect(await outcomeOf(() => use(tokenizer))).toEqual({ code: 0, stderr: '' })
    await fc.assert(
      fc.asyncProperty(changed(tokenizer), async (other) => {
        expect(faultOf(await outcomeOf(() => use(other as Record<string, GgufValue>)))).toBeNull()
      }),
      runs(100),
    )
  },
  fuzzTimeout,
)
