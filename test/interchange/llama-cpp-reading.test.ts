/**
 * llama.cpp as a witness: its own functions decode the same blocks, tokenize the same texts and compute the same file. The
 * tests need the package node-llama-cpp, in a folder of its own:
 *
 *     npm install --prefix FOLDER --ignore-scripts node-llama-cpp
 *     CHOIR_LLAMA_CPP=FOLDER npx vitest run test/interchange/llama-cpp-reading.test.ts
 *
 * @slow
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import koffi from 'koffi'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { randomFor } from '../../src/core/random.ts'
import { createRuntime } from '../../src/engine/cpu/cpu-runtime.ts'
import { temporaryFolder } from '../../src/node/data/testing/temporary-folder.ts'
import { decodedTypes, decoderOf } from '../../src/use/foreign/decode/decoder.ts'
import { randomBlocks } from '../../src/use/foreign/testing/random-blocks.ts'
import { randomText } from '../../src/use/foreign/testing/sentencepiece.ts'
import { ownLogits } from '../../src/use/interchange/export/logits.ts'
import { loadModel } from '../../src/use/runs/trained-model.ts'
import { type TensorBytes, vocabulary, writeMixtral } from './gguf-files.ts'

const folder = process.env.CHOIR_LLAMA_CPP

type Library = ReturnType<typeof koffi.load>

interface LlamaModel {
  tokenize(text: string, specialTokens: boolean): number[]
  createContext(options: object): Promise<{ getSequence(): Sequence }>
  dispose(): Promise<void>
}

interface Sequence {
  controlledEvaluate(
    tokens: readonly (readonly [token: number, options: object])[],
  ): Promise<{ readonly next: { readonly logits: ReadonlyMap<number, number> } }[]>
}

/** Types in blocks, which ggml has functions for. */
const blockTypes = decodedTypes.filter((dtype) => !['F32', 'F16', 'BF16'].includes(dtype))
const inC = (dtype: string): string => (dtype.startsWith('IQ') ? dtype.toLowerCase() : dtype.replace('Q', 'q'))

function openGgml(root: string): Library {
  const binaries = join(root, 'node_modules/@node-llama-cpp')
  const platform = readdirSync(binaries).find((name) => name === `${process.platform}-${process.arch}`)
  return koffi.load(join(binaries, `${platform}/bins/${platform}/libggml-base.so`))
}

/** The bits of numbers, so that NaN and −0 are compared too. */
const bitsOf = (values: Float32Array): Buffer => Buffer.from(values.buffer)

describe.skipIf(folder === undefined)(
  folder === undefined ? 'llama.cpp (skipped: CHOIR_LLAMA_CPP names no folder with node-llama-cpp)' : 'llama.cpp',
  { timeout: 300_000 },
  () => {
    const { make } = temporaryFolder()
    let ggml: Library
    let load: (path: string) => Promise<LlamaModel>
    beforeAll(async () => {
      ggml = openGgml(folder as string)
      const { getLlama } = await import(
        pathToFileURL(join(folder as string, 'node_modules/node-llama-cpp/dist/index.js')).href
      )
      const llama = await getLlama({ gpu: false, build: 'never', skipDownload: true, logLevel: 'error' })
      load = (modelPath) => llama.loadModel({ modelPath })
    }, 300_000)
    const runtime = createRuntime({ threads: 1 })
    afterAll(async () => (await runtime).close())

    /** Random weights, rounded by ggml. */
    const roundedTo =
      (dtype: string) =>
      (name: string, shape: readonly number[]): TensorBytes => {
        const random = randomFor(7, name)
        const columns = shape.at(-1) as number
        const size = shape.reduce((product, length) => product * length, 1)
        const isVector = shape.length === 1
        const scale = isVector ? 0.2 : name === 'output.weight' ? 0.2 : columns ** -0.5
        const values = Float32Array.from(
          { length: size },
          () => Number(isVector) + scale * 3.4 * (random.uniform() - 0.5),
        )
        if (isVector || name.includes('ffn_gate_inp') || dtype === 'F32')
          return { dtype: 'F32', bytes: new Uint8Array(values.buffer) }
        const { block, bytes } = decoderOf(dtype)
        const rounded = new Uint8Array((size / block) * bytes)
        ggml.func(`size_t quantize_${inC(dtype)}(const void *, void *, int64_t, int64_t, const void *)`)(
          values,
          rounded,
          size / columns,
          columns,
          null,
        )
        return { dtype, bytes: rounded }
      }

    /** The same weights as numbers. */
    const inFull = ({ dtype, bytes }: TensorBytes): TensorBytes => {
      const { block, bytes: blockBytes, decode } = decoderOf(dtype)
      const values = new Float32Array((bytes.length / blockBytes) * block)
      decode(bytes.slice().buffer, values)
      return { dtype: 'F32', bytes: new Uint8Array(values.buffer) }
    }

    const tokens = Int32Array.from({ length: 24 }, (_, i) => (i === 0 ? 1 : 260 + ((i * 37) % 240)))

    async function ourLogits(path: string): Promise<Float32Array> {
      const model = await loadModel(path, { threads: 1 }, () => {})
      try {
        return await ownLogits(model.runtime, model.config.model, model.store, tokens)
      } finally {
        await model.close()
      }
    }

    async function theirLogits(path: string): Promise<Float32Array> {
      const model = await load(path)
      const context = await model.createContext({
        contextSize: 64,
        flashAttention: false,
        experimentalKvCacheKeyType: 'F32',
        experimentalKvCacheValueType: 'F32',
      })
      const next = await context
        .getSequence()
        .controlledEvaluate(Array.from(tokens, (token) => [token, { generateNext: { logits: true } }] as const))
      await model.dispose()
      return Float32Array.from(
        next.flatMap(({ next: { logits } }) => vocabulary.tokens.map((_, id) => logits.get(id) as number)),
      )
    }

    /** Root mean square of the difference, relative to that of the numbers. */
    const difference = (a: Float32Array, b: Float32Array): number =>
      Math.hypot(...a.map((value, i) => value - (b[i] as number))) / Math.hypot(...b)

    test.each(blockTypes)('decodes random blocks of %s to the same bits', (dtype) => {
      const { block, decode } = decoderOf(dtype)
      const data = randomBlocks(dtype, 2000, 3)
      const [ours, theirs] = [new Float32Array(2000 * block), new Float32Array(2000 * block)]
      decode(data.buffer, ours)
      ggml.func(`void dequantize_row_${inC(dtype)}(const void *, void *, int64_t)`)(data, theirs, theirs.length)
      expect(bitsOf(ours).equals(bitsOf(theirs))).toBe(true)
    })

    test.each(blockTypes)('computes a file in %s as Choir does', async (dtype) => {
      const root = make()
      const [rounded, full] = [join(root, 'rounded.gguf'), join(root, 'full.gguf')]
      await writeMixtral(rounded, roundedTo(dtype))
      await writeMixtral(full, (name, shape) => inFull(roundedTo(dtype)(name, shape)))
      const ours = await ourLogits(rounded)
      const [exact, inBlocks] = [await theirLogits(full), await theirLogits(rounded)]
      expect(difference(exact, ours)).toBeLessThan(1e-5)
      // llama.cpp rounds the inputs of products with blocks to int8, by which a token may take another expert. The
      // difference of unrelated logits is about 1.4.
      expect(difference(inBlocks, ours)).toBeLessThan(0.3)
    })

    test('tokenizes texts of several scripts as Choir does', async () => {
      const path = join(make(), 'model.gguf')
      await writeMixtral(path, roundedTo('F32'))
      const model = await load(path)
      const ours = await loadModel(path, { threads: 1 }, () => {})
      try {
        const random = randomFor(5, 'texts')
        const special = ['<s>', '</s>', '<unk>', '<|user|>']
        const texts = Array.from({ length: 1500 }, (_, i) => {
          const text = randomText(() => random.uniform())
          return i % 5 === 0 ? `${text}${special[i % 4]}${randomText(() => random.uniform())}` : text
        })
        for (const text of ['', ' ', ' '.repeat(77), 'a'.repeat(50), '<0x41>', ...texts])
          expect([...(await ours.tokenizer.encode(text))], JSON.stringify(text)).toEqual(model.tokenize(text, true))
      } finally {
        await model.dispose()
        await ours.close()
      }
    })
  },
)
