/**
 * Every preset, and models of width 64 to 2048, start soundly. With initial scales of earlier versions, problems are
 * reported.
 *
 * @slow
 */
import { describe, expect, test } from 'vitest'
import { presetNames } from '../../core/config/presets.ts'
import { type Random, randomFor } from '../../core/random.ts'
import { loadConfig } from '../run/load-config.ts'
import { explainedShare, measureSignal, signalProblems } from './signal.ts'

const slow = { timeout: 120_000 }

/**
 * Neither the number of experts, which are alike at the start, nor the vocabulary changes what is checked. So few
 * experts and tokens suffice, in a fraction of the time and memory.
 */
const few = ['model.moe.experts=2', 'model.vocabulary=2048']

/** The deviation of a matrix follows its fan-in, so base starts alike with narrower experts. M has those of its ratio. */
const setsOf = { tiny: [], demo: [], S: few, M: few, base: [...few, 'model.moe.hidden=1024', 'model.hidden=1024'] }

test.each(presetNames)('%s starts soundly', slow, async (preset) => {
  const signal = await measureSignal(await loadConfig(preset, setsOf[preset]))
  expect(signalProblems(signal)).toEqual([])
})

describe('a model of', () => {
  const shape = ['model.layers=2', 'model.heads=2', 'model.moe.hidden=512', 'model.hidden=512', ...few]
  test.each([
    [64, 'model.moe.router=top-k'],
    [128, 'model.moe=null'],
    [512, 'model.moe=null'],
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

test('if rows are an effect of their kind plus noise, the explained share is the share of the effect in the variance', () => {
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
    // The kinds are 16 draws per dimension. The mean of their variance over 64 dimensions has a deviation of 4 %.
    expect(explainedShare(row, kind_T, width), `seed ${seed}`).toBeCloseTo(signal ** 2 / (signal ** 2 + noise ** 2), 1)
  }
})
