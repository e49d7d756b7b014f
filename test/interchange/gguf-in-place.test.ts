/**
 * GGUF files, used as they are. The files are written by the export, whose numbers and metadata are compared with Hugging
 * Face's parser and with plain loops by the rules of llama.cpp (`gguf.test.ts`); here they give the log-probabilities of
 * the folder of transformers that is exported from the same run, and of the run.
 *
 * @slow
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { ggufLogits, OpenGguf } from '../../bench/support/gguf-loops.ts'
import { createRuntime } from '../../src/engine/cpu/cpu-runtime.ts'
import { temporaryFolder } from '../../src/node/data/testing/temporary-folder.ts'
import { type GgufTensor, type GgufValue, ggufFile } from '../../src/use/interchange/export/gguf/file.ts'
import { ggufFormat } from '../../src/use/interchange/export/gguf/format.ts'
import { hfFormat } from '../../src/use/interchange/export/hf/format.ts'
import { ownLogits } from '../../src/use/interchange/export/logits.ts'
import type { Settings } from '../../src/use/interchange/export/testing/cases.ts'
import { randomModel, tokensOf } from '../../src/use/interchange/export/testing/random-model.ts'
import { writtenExport } from '../../src/use/interchange/export/testing/written.ts'
import { importModel } from '../../src/use/interchange/import/import-model.ts'
import { generate } from '../../src/use/runs/generate.ts'
import { scoreRun } from '../../src/use/runs/score.ts'
import { findModel } from '../../src/use/runs/stored-model.ts'
import { loadModel } from '../../src/use/runs/trained-model.ts'

const { make } = temporaryFolder()
const runtime = await createRuntime({ threads: 1 })
afterAll(() => runtime.close())

const llama: Settings = { activation: 'swiglu', sequence: 16, embeddingScale: 1, moe: null, vocabulary: 260 }
const sparse = { experts: 6, hidden: 5, k: 2, capacity: 'none' } as const
const withExperts = (moe: Settings['moe'], settings: Settings = {}): Settings => ({ ...llama, ...settings, moe })

const models: readonly (readonly [name: string, settings: Settings])[] = [
  ['llama', { ...llama, keyValueHeads: 2, headWidth: 6 }],
  ['llama', { ...llama, attentionBias: 'all', tied: true }],
  ['llama', { ...llama, rotaryScaling: { kind: 'llama3', factor: 8, original: 8 } }],
  ['llama', withExperts({ ...sparse, softmax: 'after' }, { rotaryScaling: { kind: 'linear', factor: 2 } })],
  ['qwen2moe', withExperts({ ...sparse, sharedHidden: 7, sharedGate: true }, { attentionBias: 'qkv', tied: true })],
]

/** Log-probabilities of the tokens of a text. */
async function scoresOf(path: string): Promise<(number | null)[]> {
  const items = (async function* () {
    yield { name: 'a text', item: 'ab ba, abba!' }
  })()
  const scores = []
  for await (const { score } of scoreRun(path, items, { threads: 1 }))
    if ('tokens' in score) scores.push(...score.tokens.map(({ logProbability }) => logProbability))
  return scores
}

async function logitsOf(path: string, tokens: Int32Array): Promise<Float32Array> {
  const model = await loadModel(path, { threads: 1 }, () => {})
  try {
    return await ownLogits(model.runtime, model.config.model, model.store, tokens)
  } finally {
    await model.close()
  }
}

const largest = (a: ArrayLike<number | null>, b: ArrayLike<number | null>): number =>
  Math.max(...Array.from(a, (value, i) => Math.abs((value ?? 0) - (b[i] ?? 0))))

describe('a model that was exported as GGUF', () => {
  test.each(models)('has the logits of the run and of its folder of transformers: %s %j', async (_, settings) => {
    const model = randomModel(5, settings)
    const [gguf, hf] = [make(), make()]
    await writtenExport(ggufFormat, model, { runtime, folder: gguf })
    await writtenExport(hfFormat, model, { runtime, folder: hf })
    const path = join(gguf, 'model.gguf')
    const tokens = tokensOf(model, 12)
    const own = await ownLogits(runtime, model.config, model.store, tokens)
    expect(largest(await logitsOf(path, tokens), own)).toBeLessThan(1e-4)
    const [here, there] = [await scoresOf(path), await scoresOf(hf)]
    expect(here.length).toBeGreaterThan(5)
    expect(here).toHaveLength(there.length)
    expect(largest(here, there)).toBeLessThan(1e-4)
  })

  test.each(['bf16', 'f16'] as const)('has the numbers of the same type in a folder: %s', async (dtype) => {
    const model = randomModel(5, withExperts({ ...sparse, renormalize: true }, { queryKeyNorm: 'head' }))
    const [gguf, hf] = [make(), make()]
    await writtenExport(ggufFormat, model, { runtime, folder: gguf, dtype })
    await writtenExport(hfFormat, model, { runtime, folder: hf, dtype })
    // Routers and norms stay float32 in the file, and are rounded in the folder.
    const rounding = dtype === 'bf16' ? 2 ** -8 : 2 ** -11
    expect(largest(await scoresOf(join(gguf, 'model.gguf')), await scoresOf(hf))).toBeLessThan(20 * rounding)
  })

  test.each(['q8_0', 'q4_0'] as const)('in %s has the logits of plain loops over the same file', async (dtype) => {
    const settings = withExperts({ ...sparse, hidden: 32, renormalize: true }, { queryKeyNorm: 'head', width: 32 })
    const model = randomModel(5, settings)
    const folder = make()
    await writtenExport(ggufFormat, model, { runtime, folder, dtype })
    const [path, tokens] = [join(folder, 'model.gguf'), tokensOf(model, 12)]
    const file = await OpenGguf.open(path)
    expect(largest(await logitsOf(path, tokens), await ggufLogits(file, tokens))).toBeLessThan(1e-4)
    await file.close()
  })

  test('generates by its path or a link, is imported, and has its place for rounded weights beside the file', async () => {
    const model = randomModel(5, withExperts({ ...sparse, renormalize: true }, { queryKeyNorm: 'head' }))
    const folder = make()
    await writtenExport(ggufFormat, model, { runtime, folder })
    const path = join(folder, 'model.gguf')
    await importModel(path, join(folder, 'run'))
    const textOf = async (from: string) => {
      let text = ''
      const options = { prompt: 'a', tokens: 8, temperature: 0, topK: 0, topP: 1, seed: 0 }
      for await (const piece of generate(from, { ...options, weights: 'int8' })) text += piece
      return text
    }
    const [here, there] = [await textOf(path), await textOf(join(folder, 'run'))]
    expect(here).not.toBe('')
    expect(here).toBe(there)
    symlinkSync(path, join(folder, 'link'))
    const { files } = await findModel(path, {}, undefined, () => {})
    expect(files?.copies).toBe(`${path}.choir-`)
    expect(await textOf(join(folder, 'link'))).toBe(here)
  })
})

describe('what is not such a file is refused with its reason:', () => {
  const good = async () => {
    const folder = make()
    await writtenExport(ggufFormat, randomModel(5, llama), { runtime, folder })
    return { folder, path: join(folder, 'model.gguf'), bytes: readFileSync(join(folder, 'model.gguf')) }
  }
  const open = (path: string) => loadModel(path, { threads: 1 }, () => {}).then((model) => model.close())

  test('a file that ends too early, at any byte of its header', async () => {
    const { path, bytes } = await good()
    for (const length of [0, 3, 4, 7, 12, 23, 24, 40, 100, 1000, 5000, bytes.length - 1]) {
      writeFileSync(path, bytes.subarray(0, length))
      await expect(open(path), String(length)).rejects.toThrow(
        /is damaged: (it ends at byte|it names .* left|.* ends at byte .* \(is its download complete)|is not a GGUF file/,
      )
    }
  })

  test('another magic, version 1, a big-endian file', async () => {
    const { path, bytes } = await good()
    const changed = (edit: (bytes: Buffer) => void) => {
      const copy = Buffer.from(bytes)
      edit(copy)
      writeFileSync(path, copy)
    }
    changed((copy) => copy.write('GGML'))
    await expect(open(path)).rejects.toThrow(/is not a GGUF file: it begins with "GGML" \(expected "GGUF"\)/)
    changed((copy) => copy.writeUInt32LE(1, 4))
    await expect(open(path)).rejects.toThrow(/has version 1 of GGUF \(expected version 2 or 3/)
    changed((copy) => copy.writeUInt32BE(3, 4))
    await expect(open(path)).rejects.toThrow(/is big-endian \(expected version 2 or 3/)
    changed((copy) => copy.writeUInt32LE(2, 4))
    await open(path)
  })

  test('absurd counts, at once', async () => {
    const { path, bytes } = await good()
    for (const [at, count] of [
      [8, 2n ** 40n],
      [16, 2n ** 62n],
      [24, 2n ** 50n],
    ] as const) {
      const copy = Buffer.from(bytes)
      copy.writeBigUInt64LE(count, at)
      writeFileSync(path, copy)
      const began = performance.now()
      await expect(open(path), String(at)).rejects.toThrow(/is damaged: it (names|has the count) /)
      expect(performance.now() - began).toBeLessThan(2000)
    }
  })

  const string = (value: string): GgufValue => ({ type: 'string', value })
  const tensor = (name: string, shape: readonly number[]): GgufTensor => {
    const byteLength = 4 * shape.reduce((product, size) => product * size, 1)
    return { name, shape, type: 'float32', byteLength, read: async () => new Uint8Array(byteLength) }
  }
  const write = async (metadata: Record<string, GgufValue>, tensors: readonly GgufTensor[] = []) => {
    const path = join(make(), 'model.gguf')
    const pieces = await Promise.all(ggufFile('model.gguf', metadata, tensors).pieces.map(({ read }) => read()))
    writeFileSync(path, Buffer.concat(pieces))
    return path
  }

  test('a tensor twice, a tensor beyond the end', async () => {
    const twice = await write({ 'general.architecture': string('llama') }, [tensor('a', [4]), tensor('a', [4])])
    await expect(open(twice)).rejects.toThrow(/is damaged: it has the tensor a twice/)
    const path = await write({ 'general.architecture': string('llama') }, [tensor('a', [4]), tensor('b', [4])])
    const bytes = readFileSync(path)
    // The offset of b is the last number of the header, which ends before the data.
    bytes.writeBigUInt64LE(2n ** 40n, bytes.indexOf(Buffer.from('b\x01\0\0\0')) + 5 + 8 + 4)
    writeFileSync(path, bytes)
    await expect(open(path)).rejects.toThrow(/b ends at byte 1,099,511,\d+,?\d*, and the file at byte/)
  })

  test('names that would fill a message', async () => {
    const message = /is damaged: a name has 70,000 bytes \(expected at most 1,024\)$/
    const long = 'x'.repeat(70_000)
    await expect(open(await write({ 'general.architecture': string('llama'), [long]: string('') }))).rejects.toThrow(
      message,
    )
    await expect(open(await write({ 'general.architecture': string('llama') }, [tensor(long, [4])]))).rejects.toThrow(
      message,
    )
  })

  test('another architecture, an absent key, a part of a model', async () => {
    await expect(open(await write({}))).rejects.toThrow(/lacks general\.architecture in its metadata/)
    await expect(open(await write({ 'general.architecture': string('gemma2') }))).rejects.toThrow(
      /unsupported general\.architecture: "gemma2" \(supported: llama, granite, granitemoe, qwen2, .* or olmoe/,
    )
    await expect(open(await write({ 'general.architecture': string('llama') }))).rejects.toThrow(
      /lacks llama\.embedding_length in its metadata \(expected a positive integer\)/,
    )
    const part: GgufValue = { type: 'uint32', value: 3 }
    await expect(open(await write({ 'split.count': part }))).rejects.toThrow(/is one of 3 files of a model/)
  })

  test('a type of tensors that is not read, with the name of the tensor and of the type', async () => {
    const { path, bytes } = await good()
    const at = bytes.indexOf('output_norm.weight')
    // After the name: the number of dimensions, one dimension, and the type. 16 is IQ2_XXS.
    bytes.writeUInt32LE(16, at + 'output_norm.weight'.length + 4 + 8)
    writeFileSync(path, bytes)
    await expect(open(path)).rejects.toThrow(
      /are not those of its metadata:\n {2}it holds in a type that is not read \(expected F32, F16, BF16, Q8_0, Q6_K, .* or IQ4_XS\) output_norm\.weight IQ2_XXS/,
    )
  })

  test('a tokenizer of another kind, or with words that Choir does not know', async () => {
    const { path, bytes } = await good()
    const put = (from: string, to: string) => {
      const copy = Buffer.from(bytes)
      copy.write(to, bytes.indexOf(from, bytes.indexOf('tokenizer.ggml')))
      writeFileSync(path, copy)
    }
    put('gpt2', 'bert')
    await expect(open(path)).rejects.toThrow(/unsupported tokenizer\.ggml\.model: "bert"/)
    put('gpt-2', 'grok9')
    await expect(open(path)).rejects.toThrow(/unsupported tokenizer\.ggml\.pre: "grok9" \(supported: gpt-2, olmo/)
  })

  test('a path that names nothing, a broken link, a folder, a pipe', async () => {
    const folder = make()
    await expect(open(join(folder, 'absent.gguf'))).rejects.toThrow(
      /cannot read .*absent\.gguf": there is no such file/,
    )
    symlinkSync(join(folder, 'gone'), join(folder, 'link.gguf'))
    await expect(open(join(folder, 'link.gguf'))).rejects.toThrow(/there is no such file/)
    mkdirSync(join(folder, 'folder.gguf'))
    await expect(open(join(folder, 'folder.gguf'))).rejects.toThrow(/folder\.gguf/)
    execFileSync('mkfifo', [join(folder, 'pipe.gguf')])
    await expect(open(join(folder, 'pipe.gguf'))).rejects.toThrow(/it is neither a file nor a folder/)
  })
})
