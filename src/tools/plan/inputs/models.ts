/**
 * Shapes of published models, from their `config.json` or papers. Most mixtures are dropless; scores are softmax or
 * sigmoid as published. Settings that change neither memory nor speed keep their defaults.
 */
import type { z } from 'zod'
import type { plannedRunSchema } from './settings.ts'

type Planned = z.input<typeof plannedRunSchema>
export type ModelInput = NonNullable<Planned['model']>
type Latent = NonNullable<NonNullable<Planned['plan']>['latent']>

/** Models like Llama: RMS norm, rotary positions, SwiGLU, and an output matrix of their own. */
const llama = { activation: 'swiglu', tied: false } as const
const dropless = { capacity: 'none', renormalize: true } as const

/** Multi-head latent attention of DeepSeek-V3 and Kimi K2. */
export const deepseekLatent: Latent = {
  queryRank: 1536,
  keyValueRank: 512,
  headWidth: 128,
  rotaryWidth: 64,
  valueWidth: 128,
}

function llamaModel(
  layers: number,
  width: number,
  heads: number,
  keyValueHeads: number,
  hidden: number,
  vocabulary: number,
): ModelInput {
  return { ...llama, layers, width, heads, keyValueHeads, hidden, vocabulary, sequence: 8192, moe: null }
}

/** A model of OpenAI's gpt-oss. Attention sinks and the biases of experts, 0.2 % of the parameters, are not counted. */
function gptOss(layers: number, experts: number): ModelInput {
  return {
    ...llama,
    vocabulary: 201_088,
    layers,
    width: 2880,
    heads: 64,
    keyValueHeads: 8,
    headWidth: 64,
    attentionBias: 'all',
    window: 128,
    fullEvery: 2,
    sequence: 4096,
    moe: { capacity: 'none', softmax: 'after', experts, hidden: 2880, k: 4 },
  }
}

function mixtral(layers: number, width: number, heads: number, hidden: number, vocabulary: number): ModelInput {
  const moe = { ...dropless, experts: 8, hidden, k: 2 }
  return { ...llama, vocabulary, layers, width, heads, keyValueHeads: 8, sequence: 4096, moe }
}

function qwen3(layers: number, width: number, heads: number, hidden: number): ModelInput {
  return {
    ...llama,
    vocabulary: 151_936,
    layers,
    width,
    heads,
    keyValueHeads: 4,
    headWidth: 128,
    queryKeyNorm: 'head',
    sequence: 4096,
    moe: { ...dropless, experts: 128, hidden, k: 8 },
  }
}

export const models = {
  'llama-3-8b': llamaModel(32, 4096, 32, 8, 14_336, 128_256),
  'llama-3-70b': llamaModel(80, 8192, 64, 8, 28_672, 128_256),
  'llama-3-405b': llamaModel(126, 16_384, 128, 8, 53_248, 128_256),
  'mixtral-8x7b': mixtral(32, 4096, 32, 14_336, 32_000),
  'mixtral-8x22b': mixtral(56, 6144, 48, 16_384, 32_768),
  'olmoe-1b-7b': {
    ...llama,
    vocabulary: 50_304,
    layers: 16,
    width: 2048,
    heads: 16,
    queryKeyNorm: 'width',
    sequence: 4096,
    moe: { capacity: 'none', experts: 64, hidden: 1024, k: 8 },
  },
  'qwen3-30b-a3b': qwen3(48, 2048, 32, 768),
  'qwen3-235b-a22b': qwen3(94, 4096, 64, 1536),
  'deepseek-v3': {
    ...llama,
    vocabulary: 129_280,
    layers: 61,
    width: 7168,
    heads: 128,
    hidden: 18_432,
    sequence: 4096,
    moe: {
      ...dropless,
      from: 3,
      experts: 256,
      hidden: 2048,
      k: 8,
      sharedHidden: 2048,
      router: 'bias',
      scores: 'sigmoid',
      expertGroups: 8,
      groupsPerToken: 4,
      groupScore: 'top-2',
      routedScale: 2.5,
    },
  },
  'kimi-k2': {
    ...llama,
    vocabulary: 163_840,
    layers: 61,
    width: 7168,
    heads: 64,
    hidden: 18_432,
    sequence: 4096,
    moe: {
      ...dropless,
      from: 1,
      experts: 384,
      hidden: 2048,
      k: 8,
      sharedHidden: 2048,
      router: 'bias',
      scores: 'sigmoid',
    },
  },
  'gpt-oss-20b': gptOss(24, 32),
  'gpt-oss-120b': gptOss(36, 128),
  // The dense layers of GLaM are gated, but its experts are not. Here 2·49,152 columns stand for its 3·32,768.
  'glam-64b-64e': {
    activation: 'gelu',
    tied: true,
    vocabulary: 256_000,
    layers: 64,
    width: 8192,
    heads: 128,
    headWidth: 128,
    hidden: 49_152,
    sequence: 1024,
    moe: { every: 2, experts: 64, hidden: 32_768, k: 2, capacity: 'kx', factor: 1.25, compute: 'padded' },
  },
  // The encoder and the decoder, of 15 layers each, are described as one decoder without attention to the encoder.
  'switch-c': {
    activation: 'gelu',
    tied: true,
    vocabulary: 32_128,
    layers: 30,
    width: 2080,
    heads: 32,
    headWidth: 64,
    sequence: 512,
    moe: { experts: 2048, hidden: 6144, k: 1, router: 'switch', capacity: 'kx', factor: 1, compute: 'padded' },
  },
} as const satisfies Readonly<Record<string, ModelInput>>

export type ModelName = keyof typeof models
