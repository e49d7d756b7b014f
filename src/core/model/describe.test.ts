import { expect, test } from 'vitest'
import { modelSchema } from './config.ts'
import { describeModel } from './describe.ts'

/** Width 8, sequence 4, vocabulary 16, tied; layer 0 dense (hidden 12), layer 1 sparse: 6 experts of 10, top-2. */
const described = (attention: 'none' | 'qkv' | 'all') =>
  describeModel(
    modelSchema.parse({
      vocabulary: 16,
      tied: true,
      layers: 2,
      width: 8,
      heads: 2,
      sequence: 4,
      hidden: 12,
      moe: { every: 2, experts: 6, hidden: 10, k: 2, attention },
    }),
  )

const [head, norms, router] = [16 * 8, 5 * 8, 8 * 6]
const [qkv, output, dense, expert] = [8 * 24, 8 * 8, 2 * 8 * 12, 2 * 8 * 10]
/** Scores and values of two layers, forward and backward. */
const scores = 2 * 12 * 4 * 8

test('two of six feed-forward experts are active, and only they count as operations', () => {
  const shared = head + 2 * (qkv + output) + dense + router
  const { parameters, activeParameters, flopsPerToken, denseFlopsPerToken, flopsPerAssignment } = described('none')
  expect(parameters).toBe(shared + norms + 6 * expert)
  expect(activeParameters).toBe(shared + norms + 2 * expert)
  expect(denseFlopsPerToken).toBe(6 * shared + scores)
  expect(flopsPerAssignment).toEqual({ ffn: 6 * expert, qkv: 0, output: 0 })
  expect(flopsPerToken).toBe(6 * (shared + 2 * expert) + scores)
})

test('the gate of a shared expert multiplies every token', () => {
  const countsOf = (sharedGate: boolean) =>
    describeModel(modelSchema.parse({ layers: 2, width: 8, heads: 2, moe: { every: 2, sharedHidden: 5, sharedGate } }))
  const [plain, gated] = [countsOf(false), countsOf(true)]
  expect(gated.parameters - plain.parameters).toBe(8)
  expect(gated.activeParameters - plain.activeParameters).toBe(8)
  expect(gated.denseFlopsPerToken - plain.denseFlopsPerToken).toBe(6 * 8)
})

test('layers before the first period are dense, as many as `from` says', () => {
  const kinds = (layers: number, moe: { from: number; every: number }) => {
    const { tensors } = describeModel(modelSchema.parse({ layers, moe }))
    return Array.from({ length: layers }, (_, layer) =>
      tensors.some(({ name }) => name.startsWith(`layers.${layer}.moe.`)) ? 'sparse' : 'dense',
    )
  }
  // The layers of DeepSeek-V3, in small; and GLaM's sparse layer in every two, after a dense one.
  expect(kinds(5, { from: 3, every: 1 })).toEqual(['dense', 'dense', 'dense', 'sparse', 'sparse'])
  expect(kinds(5, { from: 1, every: 2 })).toEqual(['dense', 'dense', 'sparse', 'dense', 'sparse'])
  expect(() => kinds(4, { from: 3, every: 2 })).toThrow('must be at most layers − every = 2')
})

test('the masked half of attention counts the pairs of a token and a later token', () => {
  const [layers, sequence, width] = [2, 4, 8]
  let masked = 0
  for (let query = 0; query < sequence; query++)
    for (let key = 0; key < sequence; key++)
      // A multiply and an add for the score and for the value, forward and twice backward.
      if (key > query) masked += 3 * 2 * 2 * width
  expect(described('none').maskedFlopsPerToken).toBe((layers * masked) / sequence)
  expect(described('none').denseFlopsPerToken).toBeGreaterThan((layers * masked) / sequence)
})

test('operations of attention follow the width of heads, shared keys and windows; vectors add no operations', () => {
  const [layers, sequence, window] = [3, 6, 4]
  // Six heads of 4 on a width of 8, three of keys; the second of three layers sees everything.
  const config = modelSchema.parse({
    ...{ vocabulary: 16, tied: true, layers, width: 8, heads: 6, headWidth: 4, keyValueHeads: 3, sequence, hidden: 12 },
    ...{ queryKeyNorm: 'head', attentionBias: 'all', window, fullEvery: 2, moe: null },
  })
  const { parameters, flopsPerToken, maskedFlopsPerToken } = describeModel(config)
  const [qkvColumns, queries] = [(6 + 2 * 3) * 4, 6 * 4]
  const matrices = 16 * 8 + layers * (8 * qkvColumns + queries * 8 + 2 * 8 * 12)
  const vectors = layers * (2 * 8 + qkvColumns + 8 + 2 * 4) + 8
  expect(parameters).toBe(matrices + vectors)
  expect(flopsPerToken).toBe(6 * matrices + 12 * (window + sequence + window) * queries)
  // Every token is counted with as many keys as the last token sees; the keys that a token does not see are masked.
  let masked = 0
  for (const keys of [window, sequence, window])
    for (let query = 0; query < sequence; query++) masked += keys - Math.min(keys, query + 1)
  expect(maskedFlopsPerToken).toBeCloseTo((masked * 3 * 2 * 2 * queries) / sequence, 9)
})

test('an assignment to an expert in attention costs as much as its projection', () => {
  const shared = head + qkv + output + dense + 3 * router
  const { parameters, activeParameters, flopsPerToken, denseFlopsPerToken, flopsPerAssignment } = described('all')
  expect(parameters).toBe(shared + norms + 6 * (expert + qkv + output))
  expect(activeParameters).toBe(shared + norms + 2 * (expert + qkv + output))
  expect(denseFlopsPerToken).toBe(6 * shared + scores)
  expect(flopsPerAssignment).toEqual({ ffn: 6 * expert, qkv: 6 * qkv, output: 6 * output })
  expect(flopsPerToken).toBe(6 * (shared + 2 * (expert + qkv + output)) + scores)
})

test('experts in attention have their own router and one tensor per expert', () => {
  const attentionTensors = (attention: 'none' | 'qkv' | 'all') =>
    described(attention)
      .tensors.filter(({ name }) => name.startsWith('layers.1.attention') && !name.endsWith('norm'))
      .map(({ name, shape }) => `${name} ${shape.join('×')}`)
  expect(attentionTensors('none')).toEqual(['layers.1.attention.qkv 8×24', 'layers.1.attention.output 8×8'])
  const experts = ['layers.1.attention.qkv.router 8×6', 'layers.1.attention.qkv.experts.{e}.weight 6×8×24']
  expect(attentionTensors('qkv')).toEqual([...experts, 'layers.1.attention.output 8×8'])
  expect(attentionTensors('all')).toEqual([
    ...experts,
    'layers.1.attention.output.router 8×6',
    'layers.1.attention.output.experts.{e}.weight 6×8×8',
  ])
  const dense = described('all').tensors.filter(({ name }) => name.startsWith('layers.0.attention'))
  expect(dense.map(({ name }) => name)).not.toContain('layers.0.attention.qkv.router')
})
