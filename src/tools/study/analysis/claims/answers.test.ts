/** Studies with known effects, and the answers that follow from them. */
import { describe, expect, test } from 'vitest'
import { type Claim, claimSchema } from '../../claim.ts'
import { type ArmSketch, type StudySketch, studyOf } from '../../testing/results.ts'
import { Runs } from '../runs.ts'
import { answersOf } from './answers.ts'
import { bend } from './effects.ts'

type Input = Readonly<Record<string, unknown>>
const claim = (input: Input): Claim => claimSchema.parse({ statement: 'It is so', ...input })
const answers = (sketch: StudySketch) => answersOf(new Runs(studyOf(sketch)))
const answerOf = (sketch: StudySketch, input: Input) => {
  const [first] = answers({ ...sketch, claims: [claim(input)] })
  if (first === undefined) throw new Error('no answer')
  return first
}

describe('a difference', () => {
  const arms = { base: {}, arm: { effect: -0.02, jitter: 0.003 } }

  test.each([
    ['better', 0, 'holds'],
    ['worse', 0, 'does not hold'],
    // The interval is −0.02 ± 2.7764 · 0.003 · √2.5 / √5: from −0.0259 to −0.0141.
    ['better', 0.014, 'holds'],
    ['better', 0.015, 'undecided'],
    ['better', 0.026, 'does not hold'],
    ['equal', 0.026, 'holds'],
    ['equal', 0.025, 'undecided'],
    ['equal', 0.014, 'does not hold'],
  ] as const)('of −0.020 ± 0.006, claimed to be %s by %d: %s', (expect_, margin, answer) => {
    expect(answerOf({ arms }, { kind: 'difference', expect: expect_, margin }).answer).toBe(answer)
  })

  test('is measured at the capacity that the study names', () => {
    const turning = { base: {}, arm: { effect: -0.02, jitter: 0.003, at: { none: 0.04 } } }
    const better = { kind: 'difference', expect: 'better' }
    expect(answerOf({ arms: turning, capacity: 'eval' }, better).answer).toBe('holds')
    expect(answerOf({ arms: turning, capacity: 'none' }, better).answer).toBe('does not hold')
  })

  test('is measured at best rates after a sweep, and an arm without runs at its best rate at the common rate', () => {
    const arms = { base: {}, arm: { effect: 0.02, jitter: 0.003, best: -0.05 } }
    const better = { kind: 'difference', expect: 'better' }
    const tuning = [{ arm: 'arm', budgetSteps: 10, trials: [{ learningRate: 0.1, loss: 3 }], best: 0.1 }]
    expect(answerOf({ arms }, better).answer).toBe('does not hold')
    expect(answerOf({ arms, tuning }, better).answer).toBe('holds')
    // 0.02 − 0.05 against a baseline that has only the common rate.
    expect(answerOf({ arms, tuning }, better).deciding?.effect?.mean).toBeCloseTo(-0.03, 9)
  })

  test('is marked if an arm sees later tokens, and not if all arms are causal', () => {
    const leaking = { base: {}, arm: { effect: -0.2, leak: { train: 0.1, eval: null } } }
    expect(answerOf({ arms: leaking }, { kind: 'difference', expect: 'better' })).toMatchObject({
      answer: 'holds',
      seesFuture: true,
    })
    const causal = { base: {}, arm: { effect: -0.2, leak: { train: null, eval: null } } }
    expect(answerOf({ arms: causal }, { kind: 'difference', expect: 'better' }).seesFuture).toBe(false)
  })

  // The interval of five seeds is the effect ± 2.7764 · jitter · √2.5 / √5, 1.963 times the jitter.
  const several = {
    base: {},
    a: { effect: -0.02, jitter: 0.003 },
    b: { effect: -0.2, jitter: 0.003 },
    c: { effect: 0.1, jitter: 0.003 },
    d: { effect: 0.003, jitter: 0.003 },
    e: { effect: 0.004, jitter: 0.003 },
  }
  const of = (arms: string, input: Input) =>
    answerOf({ arms: several }, { kind: 'difference', contrasts: [...arms].map((arm) => ['base', arm]), ...input })

  test.each([
    ['ab', { expect: 'better' }, 'holds', 'a'],
    ['abc', { expect: 'better' }, 'does not hold', 'c'],
    ['abde', { expect: 'better' }, 'undecided', 'e'],
    ['abc', { expect: 'better', of: 'most' }, 'holds', 'a'],
    ['abcde', { expect: 'better', of: 'most' }, 'undecided', 'd'],
    ['cde', { expect: 'worse' }, 'undecided', 'd'],
    ['de', { expect: 'equal', margin: 0.02 }, 'holds', 'e'],
    // The interval of a is −0.026 to −0.014: the margin is within it, and the intervals of d and e are below.
    ['dea', { expect: 'equal', margin: 0.02 }, 'undecided', 'a'],
    ['dea', { expect: 'equal', margin: 0.02, of: 'most' }, 'holds', 'e'],
    ['deabc', { expect: 'equal', margin: 0.02 }, 'does not hold', 'b'],
  ] as const)('of contrasts %s, claimed as %j, %s: decided by %s', (arms, input, answer, arm) => {
    expect(of(arms, input)).toMatchObject({ answer, deciding: { label: `${arm} against base`, answer } })
  })
})

test('claims of a study share one correction', () => {
  // t = 3 with 4 degrees of freedom has p = 0.04: it decides a single claim, but not one of four.
  const weak: ArmSketch = { effect: -0.003 * Math.sqrt(2.5 / 5), jitter: 0.001 }
  const arms = { base: {}, a: weak, b: weak, c: weak, d: weak }
  const claims = ['a', 'b', 'c', 'd'].map((arm) =>
    claim({ kind: 'difference', contrasts: [['base', arm]], expect: 'better' }),
  )
  expect(answers({ arms, claims: claims.slice(0, 1) }).map(({ answer }) => answer)).toEqual(['holds'])
  const all = answers({ arms, claims })
  expect(new Set(all.map(({ answer }) => answer))).toEqual(new Set(['undecided']))
  expect(new Set(all.map(({ uncorrected }) => uncorrected))).toEqual(new Set(['holds']))
})

test('controls use the contrast, the capacity and the seeds that they name', () => {
  const arms = {
    base: {},
    arm: { effect: (seed: number) => (seed < 3 ? 0.02 : -0.04), jitter: 0.001, at: { none: -0.5 } },
  }
  const contrast = ['base', 'arm']
  const { controls } = answerOf(
    { arms },
    {
      kind: 'difference',
      expect: 'better',
      controls: [
        { name: 'first seeds', contrast, seeds: [0, 1, 2] },
        { name: 'last seeds', contrast, seeds: [3, 4] },
        { name: 'dropless', contrast, capacity: 'none' },
      ],
    },
  )
  expect(controls.map(({ answer }) => answer)).toEqual(['does not hold', 'holds', 'holds'])
  expect(controls.map(({ measured }) => measured.effect?.n)).toEqual([3, 2, 5])
})

describe('a trend', () => {
  /** Arms with 2, 4, 8 and 16 experts, by their losses. */
  const study = (losses: readonly number[], jitter = 0.001): Readonly<Record<string, ArmSketch>> =>
    Object.fromEntries(
      losses.map((effect, i) => [
        `${2 ** (i + 1)}`.padEnd(3, 'e'),
        { effect, jitter: i === 0 ? 0 : jitter, settings: { 'model.moe.experts': 2 ** (i + 1) } },
      ]),
    )
  const along = (losses: readonly number[], input: Input, jitter?: number) => {
    const arms = study(losses, jitter)
    return answerOf({ arms }, { arms: Object.keys(arms), over: 'model.moe.experts', ...input })
  }

  test('is the slope per doubling, by least squares for each seed', () => {
    const { deciding, answer } = along([0, -0.05, -0.1, -0.15], { kind: 'trend', expect: 'falls' })
    expect(deciding?.effect?.mean).toBeCloseTo(-0.05, 9)
    expect(deciding?.unit).toBe('nats per doubling of experts')
    expect(answer).toBe('holds')
    // Jitter g at all points but the first tilts a line of four points by 0.3 · g, and g is 0.001 · (1, −1, 2, −2, 0).
    expect(deciding?.effect?.error).toBeCloseTo((0.3 * 0.001 * Math.sqrt(2.5)) / Math.sqrt(5), 9)
  })

  test('that rises refutes a fall, and a trend without a slope is flat within the margin', () => {
    expect(along([0, 0.05, 0.1, 0.15], { kind: 'trend', expect: 'falls' }).answer).toBe('does not hold')
    expect(along([0, 0, 0, 0], { kind: 'trend', expect: 'flat', margin: 0.01 }).answer).toBe('holds')
    expect(along([0, 0, 0, 0], { kind: 'trend', expect: 'falls' }).answer).toBe('undecided')
  })

  test('of returns is the last slope minus the first', () => {
    expect(along([0, -0.08, -0.12, -0.14], { kind: 'returns', expect: 'diminish' })).toMatchObject({
      answer: 'holds',
      deciding: { effect: { mean: expect.closeTo(-0.02 + 0.08, 9) } },
    })
    expect(along([0, -0.02, -0.06, -0.14], { kind: 'returns', expect: 'diminish' }).answer).toBe('does not hold')
    // For three points at equal distances it is the second difference.
    expect(bend([1, 2, 3], [7, 4, 3])).toBe(7 - 2 * 4 + 3)
    expect(bend([1, 2], [7, 4])).toBeNull()
  })

  test('of a gain takes differences at each size, and omits a seed that lacks a size', () => {
    const sizes = [1e6, 2e6, 4e6]
    const arms = Object.fromEntries(
      sizes.flatMap((parameters, i): [string, ArmSketch][] => [
        [`base ${i}`, { parameters, effect: -i }],
        [`arm ${i}`, { parameters, effect: -i - 0.015 * i, jitter: 0.001 * i, missing: i === 1 ? [4] : [] }],
      ]),
    )
    const contrasts = sizes.map((_, i) => [`base ${i}`, `arm ${i}`])
    const { answer, deciding } = answerOf({ arms }, { kind: 'trend', contrasts, over: 'parameters', expect: 'falls' })
    expect(answer).toBe('holds')
    expect(deciding?.effect).toMatchObject({ n: 4, mean: expect.closeTo(-0.015, 9) })
  })
})

describe('a speed', () => {
  const line = (...points: readonly (readonly [number, number])[]) => ({ evaluations: () => points })
  const base = { ...line([0, 5], [500, 4], [1000, 3]), trainFlops: 6e13 }
  // From 3.5 at 500 to 2.5 at 1000, the loss 3 is passed at 750.
  const arm = { ...line([0, 5], [500, 3.5], [1000, 2.5]), trainFlops: 9e13 }
  const speed = (measure: string, more: Partial<StudySketch> = {}) =>
    answerOf({ arms: { base, arm }, ...more }, { kind: 'speed', measure, expect: 'better' })

  test('is the ratio of steps, FLOPs or seconds until the higher of the two final losses', () => {
    expect(Math.exp(speed('steps').deciding?.effect?.mean ?? 0)).toBeCloseTo(0.75, 9)
    expect(speed('steps').answer).toBe('holds')
    expect(Math.exp(speed('flops').deciding?.effect?.mean ?? 0)).toBeCloseTo(0.75 * 1.5, 9)
    expect(speed('flops').answer).toBe('does not hold')
  })

  test('in seconds includes the error of step times over turns', () => {
    const timed = (...ms: number[]) => ({
      timings: [
        { arm: 'base', stepMs: 20, turnsMs: [20, 20, 20], engine: '' },
        { arm: 'arm', stepMs: ms[1] ?? 0, turnsMs: ms, engine: '' },
      ],
    })
    expect(Math.exp(speed('seconds', timed(24, 24, 24)).deciding?.effect?.mean ?? 0)).toBeCloseTo(0.75 * 1.2, 9)
    expect(speed('seconds', timed(23.9, 24, 24.1)).answer).toBe('holds')
    expect(speed('seconds', timed(16, 24, 36)).answer).toBe('undecided')
  })

  test('of several contrasts is decided by the slowest if all must be faster, and by the middle one of three if most', () => {
    // They pass the loss 3 at 750, 900 and 600 of the 1000 steps of the baseline.
    const arms = {
      base,
      arm,
      slow: { ...arm, ...line([0, 5], [800, 3.5], [1000, 2.5]) },
      fast: { ...arm, ...line([0, 5], [500, 3.2], [1000, 2.2]) },
    }
    const label = (of: string) =>
      answerOf({ arms }, { kind: 'speed', measure: 'steps', expect: 'better', of }).deciding?.label
    expect(label('all')).toBe('slow against base')
    expect(label('most')).toBe('arm against base')
  })

  test('is measured at the final loss of the arm if that is above the baseline’s', () => {
    // The baseline is at 4 after 500 steps.
    const slow = line([0, 5], [1000, 4])
    const { deciding, answer } = answerOf(
      { arms: { base, slow } },
      { kind: 'speed', measure: 'steps', expect: 'better' },
    )
    expect(Math.exp(deciding?.effect?.mean ?? 0)).toBeCloseTo(2, 9)
    expect(answer).toBe('does not hold')
  })
})

describe('a correlation', () => {
  const study = (effects: readonly number[], more: Readonly<Record<string, ArmSketch>> = {}) => ({
    arms: {
      even: { cv: 0.1 },
      ...Object.fromEntries(effects.map((effect, i) => [`arm ${i}`, { cv: 0.3 + 0.2 * i, effect, jitter: 0.001 }])),
      ...more,
    },
  })
  const rises = { kind: 'correlation', expect: 'rises' }

  test('of imbalance and loss is Pearson’s r over arms, as Fisher’s z', () => {
    // r by hand over (0.1, 0), (0.3, 0.01), ..., (1.1, 0.05).
    const { deciding, answer } = answerOf(study([0.01, 0.03, 0.02, 0.045, 0.05]), rises)
    const x = [0.1, 0.3, 0.5, 0.7, 0.9, 1.1].map((value) => value - 0.6)
    const losses = [0, 0.01, 0.03, 0.02, 0.045, 0.05]
    const y = losses.map((value) => value - losses.reduce((a, b) => a + b) / 6)
    const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, v, i) => sum + v * (b[i] ?? 0), 0)
    expect(deciding?.effect?.mean).toBeCloseTo(Math.atanh(dot(x, y) / Math.sqrt(dot(x, x) * dot(y, y))), 9)
    expect(deciding?.effect?.error).toBeCloseTo(1 / Math.sqrt(3), 12)
    expect(answer).toBe('holds')
    expect(answerOf(study([0.01, -0.01, 0.01, -0.01, 0.005]), rises).answer).toBe('undecided')
  })

  test('leaves out expert choice, whose loads are even by construction', () => {
    const choosing = { cv: 0, effect: -0.5, settings: { 'model.moe.router': 'expert-choice' } }
    const effects = [0.01, 0.03, 0.02, 0.045, 0.05]
    const effect = ({ deciding }: ReturnType<typeof answerOf>) => deciding?.effect
    expect(effect(answerOf(study(effects, { choosing }), rises))).toEqual(effect(answerOf(study(effects), rises)))
  })
})
