/**
 * Every preset, and widths from 64 to 2048, start soundly; with the earlier scales they do not.
 *
 * @slow
 */
import { describe, expect, test } from 'vitest'
import { presetNames } from '../../core/config/presets.ts'
import { type Random, randomFor } from '../../train/step/random.ts'
import { loadConfig } from '../run/load-config.ts'
import { explainedShare, measureSignal, signalProblems } from './signal.ts'

const slow = { timeout: 120_000 }

/**
 * Experts are alike at the start, and neither their number nor the vocabulary changes what is checked: few of them, in a
 * fraction of the time and memory.
 */
const few = ['model.moe.experts=2', 'model.vocabulary=2048']

test.each(presetNames)('%s starts soundly', slow, async (preset) => {
  const signal = await measureSignal(await loadConfig(preset, preset === 'tiny' || preset === 'demo' ? [] : few))
  expect(signalProblems(signal)).toEqual([])
})

describe('over widths', () => {
  const shape = ['model.layers=2', 'model.heads=2', 'model.moe.hidden=512', 'model.hidden=512', ...few]
  test.each([
    [64, 'model.moe.router=top-k'],
    [128, 'model.moe=null'],
    [256, 'model.moe.router=top-k'],
    [512, 'model.moe=null'],
    [1024, 'model.moe.router=top-k'],
    [2048, 'model.moe=null'],
  ])('width %i, %s starts soundly', slow, async (width, kind) => {
    const sets = [...shape, `model.width=${width}`, kind]
    expect(signalProblems(await measureSignal(await loadConfig('S', sets)))).toEqual([])
  })
})

test.each([
  'model.tied=true',
  'model.positions=learned',
  'model.layers=32',
  'model.norm=layer',
  'model.activation=swiglu',
])('demo with %s starts soundly', slow, async (set) => {
  const sets = ['model.vocabulary=512', set]
  expect(signalProblems(await measureSignal(await loadConfig('demo', sets)))).toEqual([])
})

test('an unscaled embedding of deviation 1/√width, beside branches of order 1, is reported', slow, async () => {
  const sets = [
    'model.tied=true',
    'model.embeddingScale=1',
    `train.init.embedding=${1 / Math.sqrt(128)}`,
    'train.init.residual=1',
  ]
  const signal = await measureSignal(await loadConfig('demo', sets))
  const problems = signalProblems(signal).join('\n')
  expect(problems).toContain('of the last hidden state')
  expect(problems).toContain('activations differ')
  expect(problems).toContain('gradients differ')
  expect(problems).toContain('above ln V')
})

test('for a sum of kind effect and noise, the explained share is the variance share of the kind', () => {
  const seed = Number(process.env.CHOIR_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31))
  const random: Random = randomFor(seed, 'rows')
  const [kinds, tokens, width] = [16, 4096, 64]
  const normal = (count: number) => {
    const values = new Float32Array(count)
    random.truncatedNormal(values, 1)
    return values
  }
  const own = normal(kinds * width)
  const kind_T = Int32Array.from({ length: tokens }, () => random.uint32() % kinds)
  for (const [signal, noise] of [
    [1, 0],
    [1, 1],
    [0, 1],
    [1, 3],
  ] as const) {
    const row = normal(tokens * width).map(
      (value, i) =>
        noise * value + signal * (own[(kind_T[Math.floor(i / width)] as number) * width + (i % width)] as number),
    )
    // The variance of the kinds is that of 16 draws per dimension: its mean over 64 dimensions has a deviation of 4 %.
    expect(explainedShare(row, kind_T, width), `seed ${seed}`).toBeCloseTo(signal ** 2 / (signal ** 2 + noise ** 2), 1)
  }
})
