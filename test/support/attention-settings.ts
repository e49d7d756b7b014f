/** Settings of attention, one idea each, and all ideas together, for every path that computes attention. */
import type { CaseOverrides } from '../witness/generate.ts'

type Settings = NonNullable<CaseOverrides['model']>

const rotary = { width: 8, heads: 4, positions: 'rotary' } as const

/** The settings by title, for sequences of at least 8 tokens. */
export const attentionSettings: Record<string, Settings> = {
  'two heads of keys and values': { ...rotary, keyValueHeads: 2 },
  'one head of keys and values, without rotation': { ...rotary, positions: 'learned', keyValueHeads: 1 },
  'heads wider than width / heads': { ...rotary, heads: 2, headWidth: 6, attentionBias: 'qkv' },
  'heads that are narrower, with norms and biases': {
    ...rotary,
    heads: 2,
    headWidth: 2,
    queryKeyNorm: 'head',
    attentionBias: 'all',
  },
  'norms over all heads': { ...rotary, keyValueHeads: 2, queryKeyNorm: 'width' },
  'Granite: scales of scores and branches': {
    ...rotary,
    keyValueHeads: 2,
    attentionScale: 0.3,
    residualScale: 0.22,
    embeddingScale: 12,
    headScale: 0.125,
  },
  'rotary scaling, linear': { ...rotary, heads: 2, rotaryScaling: { kind: 'linear', factor: 3 } },
  'rotary scaling, YaRN': {
    ...rotary,
    heads: 1,
    rotaryBase: 10,
    rotaryScaling: { kind: 'yarn', factor: 4, original: 20, betaFast: 2, betaSlow: 1 },
  },
  'rotary scaling, YaRN with ends of its own': {
    ...rotary,
    headWidth: 12,
    rotaryBase: 50,
    rotaryScaling: {
      kind: 'yarn',
      factor: 2,
      original: 40,
      betaFast: 4,
      betaSlow: 0.5,
      attentionFactor: 0.8,
      truncate: false,
    },
  },
  'rotary scaling, llama3': {
    ...rotary,
    heads: 1,
    rotaryBase: 30,
    rotaryScaling: { kind: 'llama3', factor: 8, original: 30, lowFactor: 1, highFactor: 4 },
  },
  'a window in every layer': { ...rotary, window: 3 },
  'a window of one token': { ...rotary, positions: 'learned', window: 1 },
  'a window, but not in every second layer': { ...rotary, keyValueHeads: 2, layers: 3, window: 2, fullEvery: 2 },
  'all at once': {
    ...rotary,
    heads: 6,
    headWidth: 4,
    keyValueHeads: 3,
    queryKeyNorm: 'head',
    attentionBias: 'all',
    attentionScale: 0.4,
    residualScale: 0.5,
    rotaryScaling: { kind: 'yarn', factor: 2, original: 16 },
    layers: 2,
    window: 4,
    fullEvery: 2,
  },
}
