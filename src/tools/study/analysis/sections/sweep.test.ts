/** Sweeps with known losses: the best arm, the arms within noise of it, and losses over the swept values. */
import { describe, expect, test } from 'vitest'
import type { LineFigure } from '../../../report/blocks.ts'
import { type ArmSketch, type StudySketch, studyOf } from '../../testing/results.ts'
import { analyse } from '../analyse.ts'
import { scaleFor } from './sweep.ts'

const rate = 'train.schedule.learningRate'
const arm = (value: number, effect: number, more: ArmSketch = {}): ArmSketch => ({
  settings: { [rate]: value },
  effect,
  jitter: 0.01,
  ...more,
})
const report = (arms: StudySketch['arms'], more: Partial<StudySketch> = {}) =>
  analyse(studyOf({ view: 'sweep', arms, ...more }))
const figuresOf = (found: ReturnType<typeof report>): LineFigure[] =>
  found.sections
    .flatMap(({ blocks }) => blocks)
    .filter((block): block is LineFigure => block.kind === 'figure' && block.id.startsWith('sweep-train'))

describe('the best arm', () => {
  test('is the headline, with the interval to the runner-up worked out by hand', () => {
    const { headline } = report({ low: arm(0.001, 0.5), middle: arm(0.003, 0.2, { jitter: 0 }), high: arm(0.01, 0) })
    // Standard deviation 0.01 · √2.5 over five seeds, t(4) = 2.7764: half of the interval is 0.0196.
    const level = 3 + (0.5 * [0, 1, 2, 3, 4].reduce((sum, seed) => sum + Math.sin(seed), 0)) / 5
    expect(headline).toBe(
      `Best arm: high, held-out loss ${level.toFixed(3)} nats a token, 0.200 below the runner-up, middle (95 % interval 0.180 to 0.220, 5 seeds).`,
    )
  })

  test('that leads by less than seeds differ is reported as within noise, with a list of all arms within noise', () => {
    const found = report({
      a: arm(0.001, 0.001, { jitter: 0.02 }),
      b: arm(0.003, 0),
      c: arm(0.01, 0.002, { jitter: 0.03 }),
      d: arm(0.03, 1),
    })
    expect(found.headline).toMatch(/^Best arm: b, .*; its lead over the runner-up, a, is within noise: 0\.001 \(/)
    expect(found.sections.flatMap(({ verdicts }) => verdicts)).toContain(
      'Within noise of the best arm, b (the interval of the difference contains zero): a and c.',
    )
  })

  test('at an end of the swept values comes with a caution, and a best arm in the middle does not', () => {
    const cautions = (effects: readonly number[]) =>
      report(Object.fromEntries(effects.map((effect, i) => [`arm ${i}`, arm(10 ** -i, effect)])))
        .sections.flatMap(({ verdicts }) => verdicts)
        .filter((verdict) => verdict.includes('tried'))
    expect(cautions([0, 1, 2])).toEqual([
      `${rate}=1 of the best arm is the highest that was tried: a better value may lie beyond.`,
    ])
    expect(cautions([2, 1, 0])[0]).toContain('is the lowest')
    expect(cautions([1, 0, 2])).toEqual([])
  })

  test('with one seed has no interval, and an arm that sees later tokens is never the best', () => {
    const arms = { a: arm(0.001, 0), b: arm(0.003, 0.1), seer: arm(0.01, -1, { leak: { train: 0.5, eval: null } }) }
    expect(report(arms, { seeds: [0] }).headline).toBe(
      'Best arm: a, held-out loss 3.000 nats a token, 0.100 below the runner-up, b; one seed cannot show whether that is more than noise.',
    )
  })
})

describe('the best arm of arms with different seeds', () => {
  // The loss of a seed is 3 + 0.5 · sin(seed) for all arms, so an arm without seed 4 has the highest mean of its runs.
  const levelOf = (seeds: readonly number[]) =>
    seeds.reduce((sum, seed) => sum + 3 + 0.5 * Math.sin(seed), 0) / seeds.length
  const verdictsOf = (found: ReturnType<typeof report>) => found.sections.flatMap(({ verdicts }) => verdicts)

  test('is the best of the seeds that all of them have, and the report names these seeds', () => {
    const found = report({ 'k=1': {}, 'k=2': { effect: -0.05, jitter: 0.001, failed: [4] } })
    // Jitters of 0.001, −0.001, 0.002 and −0.002: a deviation of 0.001826, over √4, times t(3) = 3.1824, is 0.0029.
    expect(found.headline).toBe(
      `Best arm: k=2, held-out loss ${(levelOf([0, 1, 2, 3]) - 0.05).toFixed(3)} nats a token (seeds 0, 1, 2 and 3, which all causal arms have finished), 0.0500 below the runner-up, k=1 (95 % interval 0.0471 to 0.0529, 4 seeds).`,
    )
    const flat = report({ base: {}, arm: { effect: -0.05, failed: [4] } }, { view: 'plain' })
    expect(verdictsOf(flat)).toContain(
      `The causal arm with the lowest held-out loss is arm: ${(levelOf([0, 1, 2, 3]) - 0.05).toFixed(3)} nats a token (seeds 0, 1, 2 and 3, which all causal arms have finished).`,
    )
  })

  test('is not said to be level with an arm that is ahead of it on the seeds that a third arm lacks', () => {
    const { headline } = report({
      a: { effect: (seed) => (seed === 4 ? 0.01 : -0.05), jitter: 0.001 },
      b: {},
      c: { effect: 1, failed: [0, 1, 2, 3] },
    })
    expect(headline).toBe(
      `Best arm: b, held-out loss ${levelOf([4]).toFixed(3)} nats a token (seed 4, which all causal arms have finished), 0.010 below the runner-up, a; one seed cannot show whether that is more than noise.`,
    )
  })

  test.each([
    ['no seed', { failed: [0, 1, 2] }, { failed: [3, 4] }],
    ['a seed, but no text', {}, { corpus: 'another' }],
  ])('does not exist if they have %s in common', (_, a: ArmSketch, b: ArmSketch) => {
    const found = report({ a, b })
    expect(found.headline ?? '').not.toContain('Best arm')
    expect(verdictsOf(found)).toContain(
      'No arm is called the best, because the causal arms have no finished seed on the same text in common.',
    )
  })

  test('has an interval that holds at every look while any of them may add a common seed', () => {
    const arms = { a: {}, b: { effect: 0.1, jitter: 0.001 }, c: { effect: 0.2, jitter: 0.001 } }
    const headline = (more: ArmSketch) => report({ ...arms, c: { ...arms.c, ...more } }).headline
    expect(headline({ missing: [4] })).toContain('below the runner-up, b (anytime 95 % interval')
    expect(headline({ failed: [4] })).toContain('below the runner-up, b (95 % interval')
  })
})

describe('losses over swept values', () => {
  test('have a band that holds at every look while runs are missing', () => {
    const bandOf = (more: ArmSketch) => {
      const [figure] = figuresOf(report({ a: arm(0.01, 0, more), b: arm(0.001, 0.5, more), c: arm(0.1, 1, more) }))
      const [line] = figure?.series ?? []
      return (line?.high?.[0] as number) - (line?.low?.[0] as number)
    }
    // In standard errors of four seeds: 6.538 on each side at every look, 3.182 by Student.
    expect(bandOf({ missing: [4] }) / bandOf({ failed: [4] })).toBeCloseTo(6.538 / 3.1824, 3)
  })

  test('have a ring for each run, the mean, and its interval, on a logarithmic axis for geometric values', () => {
    const [figure, ...others] = figuresOf(report({ a: arm(0.01, 0), b: arm(0.001, 0.5), c: arm(0.1, 1) }))
    expect(others).toEqual([])
    expect(figure?.x).toEqual({ label: rate, scale: 'log' })
    const [line] = figure?.series ?? []
    expect(line?.x).toEqual([0.001, 0.01, 0.1])
    expect(line?.dots).toHaveLength(15)
    const middle = line?.y[1] ?? 0
    expect(line?.y).toEqual([expect.closeTo(middle + 0.5, 9), middle, expect.closeTo(middle + 1, 9)])
    expect((line?.low?.[1] as number) < middle && middle < (line?.high?.[1] as number)).toBe(true)
  })

  test('have a line for each combination of the other settings, and a figure for each setting', () => {
    const cell = (lr: number, k: number): ArmSketch => ({ settings: { [rate]: lr, 'train.batch': k }, effect: lr })
    const figures = figuresOf(
      report({ a: cell(0.1, 1), b: cell(0.2, 1), c: cell(0.3, 1), d: cell(0.1, 2), e: cell(0.2, 2), f: cell(0.3, 2) }),
    )
    expect(figures.map(({ x, series }) => [x.label, x.scale, series.map(({ name }) => name)])).toEqual([
      [rate, 'linear', ['batch=1', 'batch=2']],
      ['train.batch', 'linear', ['learningRate=0.1', 'learningRate=0.2', 'learningRate=0.3']],
    ])
  })

  test('have no figure for settings whose values are words', () => {
    const word = (value: string): ArmSketch => ({ settings: { 'train.optimizer': value } })
    expect(figuresOf(report({ a: word('adamw'), b: word('adafactor') }))).toEqual([])
  })
})

test.each([
  [[0.001, 0.003, 0.01, 0.03], 'log'],
  [[1, 2, 4, 8], 'log'],
  [[1, 2, 3, 4], 'linear'],
  [[0, 1, 10, 100], 'linear'],
  [[0.5, 1, 1.5], 'linear'],
])('the axis of %j is %s', (values, scale) => {
  expect(scaleFor(values)).toBe(scale)
})
