/**
 * GGUF files are read by Hugging Face's parser: every tensor has the numbers of the model. They are computed by plain
 * loops with the rules of llama.cpp: the logits equal Choir's. Models that llama.cpp would compute differently are
 * refused.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { GGMLQuantizationType, gguf } from '@huggingface/gguf'
import { afterAll, describe, expect, test } from 'vitest'
import { ggufLogits, OpenGguf } from '../../../../../bench/support/gguf-loops.ts'
import { modelSchema } from '../../../../core/model/config.ts'
import { floatsOf } from '../../../../engine/contract/arena.ts'
import { createRuntime } from '../../../../engine/cpu/cpu-runtime.ts'
import { temporaryFolder } from '../../../../node/data/testing/temporary-folder.ts'
import { checkGenerates } from '../export.ts'
import { largestDifference, ownLogits } from '../logits.ts'
import type { Settings } from '../testing/cases.ts'
import { randomModel, tokensOf } from '../testing/random-model.ts'
import { writtenExport } from '../testing/written.ts'
import { ggufFormat } from './format.ts'

const { make } = temporaryFolder()
const runtime = await createRuntime({ threads: 1 })
afterAll(() => runtime.close())

const llama: Settings = { activation: 'swiglu', sequence: 16, embeddingScale: 1, moe: null, vocabulary: 260 }
const sparse = { experts: 6, hidden: 5, k: 2, capacity: 'none' } as const
const withExperts = (moe: Settings['moe'], settings: Settings = {}): Settings => ({ ...llama, ...settings, moe })

/** Models by the architecture that they are in llama.cpp. */
const known: readonly (readonly [name: string, settings: Settings])[] = [
  ['llama', { ...llama, keyValueHeads: 2, headWidth: 6 }],
  ['llama', { ...llama, attentionBias: 'all', tied: true }],
  ['llama', { ...llama, rotaryScaling: { kind: 'llama3', factor: 8, original: 8 } }],
  ['llama', withExperts({ ...sparse, softmax: 'after' }, { rotaryScaling: { kind: 'linear', factor: 2 } })],
  ['granite', { ...llama, attentionScale: 0.3, residualScale: 0.4, headScale: 0.25, embeddingScale: 2 }],
  ['granitemoe', withExperts({ ...sparse, renormalize: true }, { residualScale: 0.4, attentionScale: 0.3 })],
  ['granitemoe', withExperts({ ...sparse, renormalize: true, sharedHidden: 7 }, { residualScale: 0.4 })],
  ['qwen2', { ...llama, attentionBias: 'qkv', keyValueHeads: 2 }],
  ['qwen3', { ...llama, queryKeyNorm: 'head', headWidth: 6, embeddingScale: 'third-width' }],
  ['qwen2moe', withExperts({ ...sparse, sharedHidden: 7, sharedGate: true }, { attentionBias: 'qkv', tied: true })],
  ['qwen2moe', withExperts({ ...sparse, k: 1, router: 'switch' })],
  ['qwen3moe', withExperts({ ...sparse, renormalize: true }, { queryKeyNorm: 'head', keyValueHeads: 2 })],
  ['olmoe', withExperts({ ...sparse, k: 1 }, { queryKeyNorm: 'width' })],
]

describe('a model of llama.cpp', () => {
  test.each(known)('has the same logits as in Choir: %s %j', async (name, settings) => {
    const model = randomModel(5, settings)
    const folder = make()
    ggufFormat.check(model.config, 'float32')
    const written = await writtenExport(ggufFormat, model, { runtime, folder })
    expect(written.architecture).toBe(`${name} of llama.cpp`)
    const tokens = tokensOf(model, 12)
    const read = await written.readBack(folder, tokens)
    if ('missing' in read) throw new Error(read.missing)
    const own = await ownLogits(runtime, model.config, model.store, tokens)
    expect(largestDifference(own, read.logits)).toBeLessThan(1e-4)
    const file = await OpenGguf.open(join(folder, 'model.gguf'))
    expect(largestDifference(own, await ggufLogits(file, tokens))).toBeLessThan(1e-4)
    await file.close()
  })
})

describe("Hugging Face's parser", () => {
  test('reads the metadata', async () => {
    const model = randomModel(5, { ...llama, keyValueHeads: 2 })
    const folder = make()
    await writtenExport(ggufFormat, model, { runtime, folder })
    const { metadata } = await gguf(join(folder, 'model.gguf'), { allowLocalFile: true })
    expect(metadata).toMatchObject({
      version: 3,
      'general.architecture': 'llama',
      'llama.block_count': 2,
      'llama.context_length': 16,
      'llama.embedding_length': 16,
      'llama.feed_forward_length': 20,
      'llama.attention.head_count': 4,
      'llama.attention.head_count_kv': 2,
      'llama.rope.freq_base': 10_000,
      'tokenizer.ggml.model': 'gpt2',
      'tokenizer.ggml.pre': 'gpt-2',
      'tokenizer.ggml.bos_token_id': 256,
      'tokenizer.ggml.eos_token_id': 256,
      'tokenizer.ggml.add_bos_token': true,
    })
    const list = metadata as unknown as Record<string, unknown[]>
    const tokens = list['tokenizer.ggml.tokens'] as string[]
    expect(tokens).toHaveLength(260)
    expect([tokens[65], tokens[256], tokens[259]]).toEqual(['A', '<|endoftext|>', '[PAD259]'])
    expect(list['tokenizer.ggml.token_type']?.slice(255)).toEqual([1, 3, 5, 5, 5])
  })

  test('finds every number of the model, with interleaved pairs for llama', async () => {
    const model = randomModel(6, withExperts({ ...sparse, softmax: 'after' }, { keyValueHeads: 2 }))
    const folder = make()
    await writtenExport(ggufFormat, model, { runtime, folder })
    const path = join(folder, 'model.gguf')
    const { tensorInfos, tensorDataOffset } = await gguf(path, { allowLocalFile: true })
    const bytes = readFileSync(path)
    const tensor = (name: string) => {
      const info = tensorInfos.find((each) => each.name === name)
      if (!info) throw new Error(`no ${name}`)
      expect(info.dtype).toBe(GGMLQuantizationType.F32)
      const shape = info.shape.map(Number)
      const at = Number(tensorDataOffset) + Number(info.offset)
      expect(at % 32).toBe(0)
      const count = shape.reduce((product, length) => product * length, 1)
      return { shape, data: new Float32Array(Uint8Array.from(bytes.subarray(at, at + 4 * count)).buffer) }
    }
    const ours = (name: string, expert: number | null = null) => floatsOf(model.store.parameter(name, expert))

    const down = tensor('blk.1.ffn_down_exps.weight')
    expect(down.shape).toEqual([5, 16, 6])
    // Our tensor of each expert is [5, 16], their tensor of all experts is [6, 16, 5].
    for (let e = 0; e < 6; e++)
      for (let d = 0; d < 16; d++)
        for (let f = 0; f < 5; f++)
          expect(down.data[(e * 16 + d) * 5 + f]).toBe(ours('layers.1.moe.experts.{e}.down', e)[f * 16 + d])

    // Queries are columns 0 to 15 of [16, 32], keys 16 to 23; heads have width 4.
    const key = tensor('blk.0.attn_k.weight')
    expect(key.shape).toEqual([16, 8])
    const order = [0, 2, 1, 3, 4, 6, 5, 7]
    for (const [row, from] of order.entries())
      for (let i = 0; i < 16; i++)
        expect(key.data[row * 16 + i]).toBe(ours('layers.0.attention.qkv')[i * 32 + 16 + from])

    expect(tensor('token_embd.weight').data).toEqual(ours('embedding'))
    expect(tensor('blk.1.ffn_norm.weight').data).toEqual(ours('layers.1.moe.norm'))
    const { length } = tensorInfos.map(({ name }) => name).filter((name) => name.startsWith('blk.0.'))
    expect([tensorInfos.length, length]).toEqual([2 * length + 3, 10])
  })

  test('finds weights of two bytes, and vectors and routers of four bytes', async () => {
    const model = randomModel(6, withExperts({ ...sparse, softmax: 'after' }))
    const folder = make()
    const written = await writtenExport(ggufFormat, model, { runtime, folder, dtype: 'f16' })
    const { tensorInfos, metadata } = await gguf(join(folder, 'model.gguf'), { allowLocalFile: true })
    const type = (name: string) => tensorInfos.find((each) => each.name === name)?.dtype
    expect(metadata['general.file_type' as never]).toBe(1)
    expect(type('blk.0.attn_q.weight')).toBe(GGMLQuantizationType.F16)
    expect(type('blk.0.ffn_gate_inp.weight')).toBe(GGMLQuantizationType.F32)
    expect(type('blk.0.attn_norm.weight')).toBe(GGMLQuantizationType.F32)
    expect(await written.readBack(folder, tokensOf(model, 3))).toHaveProperty('logits')
  })

  test.each([
    ['q8_0', GGMLQuantizationType.Q8_0, 7, 0.1],
    ['q4_0', GGMLQuantizationType.Q4_0, 2, 0.5],
  ] as const)('finds blocks of %s, and f16 where a row is not whole blocks', async (dtype, found, fileType, change) => {
    const model = randomModel(6, withExperts({ ...sparse, hidden: 32, softmax: 'after' }, { width: 16, headWidth: 8 }))
    const folder = make()
    const written = await writtenExport(ggufFormat, model, { runtime, folder, dtype })
    const { tensorInfos, metadata } = await gguf(join(folder, 'model.gguf'), { allowLocalFile: true })
    const type = (name: string) => tensorInfos.find((each) => each.name === name)?.dtype
    expect(metadata['general.file_type' as never]).toBe(fileType)
    // Rows of 32 hidden numbers and of 4 heads of 8, and rows of the width 16.
    expect(type('blk.0.ffn_down_exps.weight')).toBe(found)
    expect(type('blk.0.attn_output.weight')).toBe(found)
    expect(type('blk.0.attn_q.weight')).toBe(GGMLQuantizationType.F16)
    expect(type('blk.0.ffn_gate_inp.weight')).toBe(GGMLQuantizationType.F32)
    const tokens = tokensOf(model, 6)
    const read = await written.readBack(folder, tokens)
    if ('missing' in read) throw new Error(read.missing)
    const own = await ownLogits(runtime, model.config, model.store, tokens)
    const largest = Math.max(...own.map(Math.abs))
    expect(largestDifference(own, read.logits) / largest).toBeLessThan(change)
  })
})

test.each([
  ['random', /router "random": no format draws the experts/],
  ['expert-choice', /router "expert-choice": its experts choose among all tokens of a batch/],
] as const)('no format holds a model with the router %s', (router, message) => {
  const model = modelSchema.parse(withExperts({ ...sparse, capacity: 'kx', router }))
  expect(() => checkGenerates(model)).toThrow(message)
})

describe('GGUF refuses a model with', () => {
  test.each<[string, Settings, RegExp]>([
    ['prototypes', withExperts({ ...sparse, k: 1, router: 'prototype', prototypes: 2 }), /moe.router: "prototype"/],
    ['GELU', { ...llama, activation: 'gelu' }, /model.activation: "gelu"/],
    ['a window', { ...llama, attentionBias: 'qkv', window: 4 }, /model.window: 4 \(llama.cpp has none in qwen2/],
    ['YaRN', { ...llama, rotaryScaling: { kind: 'yarn', factor: 2, original: 8 } }, /rotaryScaling.kind: "yarn"/],
    [
      'dense layers between sparse ones of Qwen3-MoE',
      withExperts({ ...sparse, renormalize: true, every: 2 }, { queryKeyNorm: 'head' }),
      /all layers of qwen3_moe are sparse/,
    ],
    [
      'gates of Qwen3-MoE that do not sum to 1',
      withExperts({ ...sparse, k: 1 }, { queryKeyNorm: 'head' }),
      /llama.cpp always divides the gates of qwen3_moe/,
    ],
    [
      'fewer heads of keys in OLMoE',
      withExperts({ ...sparse, k: 1 }, { queryKeyNorm: 'width', keyValueHeads: 2 }),
      /as many heads of keys as of queries in olmoe/,
    ],
  ])('%s', (_, settings, message) => {
    expect(() => ggufFormat.check(modelSchema.parse({ width: 16, layers: 2, ...settings }), 'float32')).toThrow(message)
  })
})
