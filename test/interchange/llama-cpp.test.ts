/**
 * Files of `choir export --format gguf` beside llama.cpp itself: the bytes of blocks are those of ggml's own functions, and
 * llama.cpp generates the same text from the same file.
 *
 * @slow
 */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { findLlamaCpp, startLlamaCpp } from '../../bench/peers/llama-cpp.ts'
import { using } from '../../bench/support/line-process.ts'
import { createRuntime } from '../../src/engine/cpu/cpu-runtime.ts'
import { loadLibrary } from '../../src/engine/native/ffi.ts'
import { temporaryFolder } from '../../src/node/data/testing/temporary-folder.ts'
import { Generator } from '../../src/use/infer/generation/generator.ts'
import { encodeBlocks } from '../../src/use/interchange/export/encode.ts'
import { ggufFormat } from '../../src/use/interchange/export/gguf/format.ts'
import type { Settings } from '../../src/use/interchange/export/testing/cases.ts'
import { randomModel, tokensOf } from '../../src/use/interchange/export/testing/random-model.ts'
import { writtenExport } from '../../src/use/interchange/export/testing/written.ts'
import { loadModel } from '../../src/use/runs/trained-model.ts'

function found(): string | undefined {
  try {
    return findLlamaCpp()
  } catch (error) {
    console.warn(`skipping tests with llama.cpp: ${(error as Error).message}`)
    return undefined
  }
}
const folder = found()

/** The library with ggml's functions; null if this platform has no such build. */
function findGgml(from: string): string | null {
  const platform = `${process.platform}-${process.arch}`
  const path = resolve(from, 'node_modules/@node-llama-cpp', platform, 'bins', platform, 'libggml-base.so')
  return existsSync(path) ? path : null
}
const library = folder === undefined ? null : findGgml(folder)

describe.skipIf(library === null)("ggml's own functions", () => {
  test.each(['q8_0', 'q4_0'] as const)('give the same bytes of blocks: %s', (dtype) => {
    const ggml = loadLibrary(library as string)
    const quantize = ggml.func(`void quantize_row_${dtype}_ref(const float *x, void *y, int64_t k)`)
    fc.assert(
      fc.property(
        fc.array(fc.float({ noNaN: true, min: -1, max: 1 }), { minLength: 64, maxLength: 64 }),
        fc.integer({ min: -20, max: 18 }),
        (numbers, exponent) => {
          const values = Float32Array.from(numbers, (value) => value * 2 ** exponent)
          const ours = encodeBlocks(values, dtype, 'w')
          const theirs = new Uint8Array(ours.length)
          quantize(values, theirs, values.length)
          expect(ours).toEqual(theirs)
        },
      ),
      { numRuns: 500 },
    )
  })
})

const { make } = temporaryFolder()

/** The greedy continuation by Choir, in float32. */
async function ownText(path: string, prompt: readonly number[], tokens: number): Promise<number[]> {
  const { runtime, config, store, close } = await loadModel(path, { threads: 1 }, () => {})
  const generator = new Generator(runtime, config.model, store)
  const found: number[] = []
  for await (const token of generator.tokens(prompt, 260, { temperature: 0, topK: 0, topP: 1 }, 0)) {
    found.push(token)
    if (found.length === tokens) break
  }
  generator.release()
  await close()
  return found
}

const dense: Settings = { activation: 'swiglu', sequence: 32, embeddingScale: 1, moe: null, vocabulary: 260, width: 32 }
const moe = { experts: 6, hidden: 32, k: 2, capacity: 'none' } as const

describe.skipIf(folder === undefined)('llama.cpp', () => {
  test.each<[string, Settings]>([
    ['llama', { ...dense, keyValueHeads: 2 }],
    ['llama', { ...dense, moe: { ...moe, softmax: 'after' } }],
    ['granitemoe', { ...dense, moe: { ...moe, renormalize: true }, residualScale: 0.4, attentionScale: 0.3 }],
    ['qwen2moe', { ...dense, moe: { ...moe, sharedHidden: 32, sharedGate: true }, attentionBias: 'qkv' }],
    ['qwen3moe', { ...dense, moe: { ...moe, renormalize: true }, queryKeyNorm: 'head', keyValueHeads: 2 }],
    ['olmoe', { ...dense, moe: { ...moe, k: 1 }, queryKeyNorm: 'width' }],
  ])(
    'begins a text with the same tokens from the same float32 file: %s %j',
    async (name, settings) => {
      const model = randomModel(5, settings)
      const out = make()
      const runtime = await createRuntime({ threads: 1 })
      const { architecture } = await writtenExport(ggufFormat, model, { runtime, folder: out })
      await runtime.close()
      expect(architecture).toBe(`${name} of llama.cpp`)
      const path = join(out, 'model.gguf')
      const prompt = [...tokensOf(model, 12)]
      const { tokens, own } = await using(startLlamaCpp(path, { threads: 1, sequence: 32 }), (child) =>
        child.generate(4, prompt),
      )
      // Its keys and values are rounded to f16, so a later token of a random model may differ.
      expect(tokens).toEqual(await ownText(path, prompt, 4))
      expect(own.prefillMs * own.tokensMs).toBeGreaterThan(0)
    },
    60_000,
  )
})
