/** Models for the tests of all formats. */
import type { z } from 'zod'
import type { modelSchema } from '../../../../core/model/config.ts'

export type Settings = z.input<typeof modelSchema>

export const moe = { experts: 6, hidden: 5, k: 2 }
/** Small models with every setting that an export has to hold, by name. */
export const cases: Record<string, Settings> = {
  'dense, learned positions, layer norm, GELU, tied': { moe: null, positions: 'learned', norm: 'layer', tied: true },
  'dense, shared keys, wide heads, norms of heads': {
    moe: null,
    activation: 'swiglu',
    heads: 4,
    keyValueHeads: 2,
    headWidth: 6,
    queryKeyNorm: 'head',
  },
  'biases, norms over width, scales of Granite': {
    moe,
    attentionBias: 'all',
    queryKeyNorm: 'width',
    attentionScale: 0.3,
    residualScale: 0.4,
    headScale: 0.25,
    embeddingScale: 2,
  },
  'biases of queries, keys and values': { moe: null, attentionBias: 'qkv', keyValueHeads: 1 },
  windows: { moe: null, window: 3, fullEvery: 2, layers: 3 },
  YaRN: { moe: null, rotaryScaling: { kind: 'yarn', factor: 4, original: 6 } },
  'top-k': { moe },
  'top-1': { moe: { ...moe, k: 1 }, activation: 'swiglu' },
  'top-k, softmax after': { moe: { ...moe, softmax: 'after' } },
  'top-k, renormalized, dense layers before and between': {
    moe: { ...moe, renormalize: true, every: 2, from: 1 },
    layers: 5,
  },
  'one expert': { moe: { experts: 1, hidden: 5, k: 1 } },
  'all experts': { moe: { experts: 3, hidden: 5, k: 3 } },
  switch: { moe: { ...moe, k: 1, router: 'switch' } },
  prototypes: { moe: { ...moe, k: 1, router: 'prototype', prototypes: 3 } },
  'prototypes, two experts of each': { moe: { ...moe, router: 'prototype', prototypes: 2, renormalize: true } },
  sinkhorn: { moe: { ...moe, router: 'sinkhorn' } },
  bias: { moe: { ...moe, router: 'bias' } },
  hash: { moe: { ...moe, router: 'hash', hashSeed: 3 } },
  'a shared expert': { moe: { ...moe, sharedHidden: 7 }, activation: 'swiglu' },
  'a gated shared expert': { moe: { ...moe, sharedHidden: 7, sharedGate: true } },
  'sigmoid scores': { moe: { ...moe, scores: 'sigmoid', renormalize: true, routedScale: 2.5 } },
  'groups of experts': { moe: { ...moe, k: 3, expertGroups: 3, groupsPerToken: 2 } },
  'groups of experts, by their best two, with biases': {
    moe: {
      ...moe,
      experts: 12,
      k: 3,
      router: 'bias',
      scores: 'sigmoid',
      expertGroups: 3,
      groupsPerToken: 2,
      groupScore: 'top-2',
    },
  },
  'experts in attention': { moe: { ...moe, attention: 'all' } },
  'experts in attention, by prototypes': {
    moe: { ...moe, k: 1, router: 'prototype', prototypes: 2, attention: 'qkv' },
  },
}
