import { describe, expect, test } from 'vitest'
import type { Block, ScatterFigure } from '../../report/index.ts'
import type { Settings, Specialisation, Timing } from '../contract.ts'
import { type ArmSketch, LEVEL, type StudySketch, studyOf } from '../testing/results.ts'
import { analyse } from './analyse.ts'

const view = (sketch: StudySketch) => {
  const results = studyOf(sketch)
  const id = results.questions[0]?.id
  return analyse(results).sections.find((section) => section.id === id) ?? { verdicts: [], blocks: [] }
}
const figure = (blocks: readonly Block[], id: string) =>
  blocks.find((block) => block.kind === 'figure' && block.id === id)
const moe = (settings: Readonly<Record<string, unknown>>) =>
  Object.fromEntries(Object.entries(settings).map(([name, value]) => [`model.moe.${name}`, value]))

describe('imbalance', () => {
  const arm = (cv: number, effect: number): ArmSketch => ({ cv, effect, jitter: 0.001 })
  const study = (effects: readonly number[]) =>
    view({
      view: 'imbalance',
      arms: Object.fromEntries([
        ['even', { cv: 0.1 }],
        ...effects.map((effect, i) => [`arm ${i}`, arm(0.3 + 0.2 * i, effect)] as const),
      ]),
    })

  test('that goes with loss is found, without claiming a cause', () => {
    const { verdicts } = study([0.01, 0.03, 0.02, 0.045, 0.05])
    expect(verdicts[0]).toMatch(
      /^Load imbalance goes with worse quality here: .* over 6 arms \(r = 0\.94, 95 % interval 0\.55 to 0\.99/,
    )
    expect(verdicts[0]).toMatch(/may be the cause\.$/)
  })

  test('that goes with nothing is not called harmless', () => {
    const { verdicts } = study([0.01, -0.01, 0.01, -0.01, 0.005])
    expect(verdicts[0]).toMatch(/^No relation between load imbalance and quality was found here over 6 arms/)
    expect(verdicts.join(' ')).toMatch(
      /Furthest in balance from even \(c_v 0\.10\) is arm 4, the more uneven \(c_v 1\.10\): its loss is at most 0\.0070 nats a token above that of even/,
    )
  })

  test('leaves out expert choice, whose loads are even by construction', () => {
    const arms = (more: Readonly<Record<string, ArmSketch>>) => ({
      even: { cv: 0.1 },
      ...Object.fromEntries([0.01, 0.02, 0.03].map((effect, i) => [`arm ${i}`, arm(0.3 + 0.2 * i, effect)])),
      ...more,
    })
    const choosing = { ...arm(0, -0.5), settings: moe({ router: 'expert-choice' }) }
    const without = view({ view: 'imbalance', arms: arms({}) })
    const { verdicts, blocks } = view({ view: 'imbalance', arms: arms({ choosing }) })
    expect(verdicts[0]).toBe(without.verdicts[0])
    expect(verdicts).toContainEqual(
      expect.stringMatching(/^Drawn but left out of correlations and trends: choosing\. .*even by construction/),
    )
    expect(verdicts.join(' ')).toContain('Furthest in balance from even (c_v 0.10) is arm 2')
    const [drawn, before] = [blocks, without.blocks].map((some) => figure(some, 'imbalance-imbalance-loss'))
    expect(drawn).toMatchObject({
      points: expect.arrayContaining([expect.objectContaining({ group: 'expert choice' })]),
    })
    expect(drawn).toHaveProperty('trend', (before as ScatterFigure | undefined)?.trend)
  })

  test('of two arms is not told', () => {
    expect(study([0.01]).verdicts[0]).toMatch(/cannot be told from 2 arms/)
  })

  test('bounds what balance can gain when the baseline is the uneven one', () => {
    const { verdicts } = view({ view: 'imbalance', arms: { uneven: { cv: 2 }, even: arm(0.1, -0.02) } })
    expect(verdicts.join(' ')).toMatch(
      /is even, the more even \(c_v 0\.10\): its loss is at most 0\.0220 nats a token below that of uneven, by the lower end/,
    )
  })

  test('is drawn before and after drops, over time and by expert, as a multiple of an even share', () => {
    const { blocks } = study([0.01, 0.02, 0.03])
    expect(figure(blocks, 'imbalance-imbalance-loss')).toMatchObject({ points: { length: 4 }, trend: { length: 2 } })
    expect(figure(blocks, 'imbalance-imbalance-kept-loss')).toBeDefined()
    expect(figure(blocks, 'imbalance-imbalance')).toMatchObject({ series: { length: 4 } })
    expect(figure(blocks, 'imbalance-load-end')).toMatchObject({
      middle: 1,
      panels: [
        {
          title: 'even (seed 0)',
          values: [[1.6, 1.2, 0.8, 0.4].map((load) => expect.closeTo(load, 9)), expect.anything()],
        },
        { title: 'arm 2 (seed 0)' },
      ],
    })
    expect(figure(blocks, 'imbalance-load-time')).toMatchObject({ panels: [{ rows: ['0', '1', '2', '3'] }, {}] })
  })
})

describe('capacity', () => {
  const arms = {
    'top-1': { settings: moe({ k: 1, capacity: 'kx', factor: 1 }), dropRate: 0.1 },
    'top-2 kx': {
      settings: moe({ k: 2, capacity: 'kx', factor: 1 }),
      effect: -0.03,
      jitter: 0.001,
      trainFlops: 1.2e14,
    },
    'top-2 1x': { settings: moe({ k: 2, capacity: '1x', factor: 1 }), effect: -0.001, jitter: 0.002, dropRate: 0.4 },
    'top-2 kx 2': { settings: moe({ k: 2, capacity: 'kx', factor: 2 }), effect: -0.03, jitter: 0.0012 },
  }
  const { verdicts, blocks } = view({ view: 'capacity', arms })

  test('compares k, the factor and the rule, each with the others held, listed or not', () => {
    expect(
      verdicts.filter((verdict) => /^(Experts|Capacity)/.test(verdict)).map((verdict) => verdict.split(' nats')[0]),
    ).toEqual([
      'Experts a token (capacity 1x, factor 1): no difference found between top-2 1x and top-1: −0.0010',
      'Experts a token (capacity kx, factor 1): top-2 kx is better than top-1 by 0.0300',
      'Capacity factor (top-2, capacity kx): no difference found between top-2 kx 2 and top-2 kx: 0.00000',
      'Capacity kx against 1x (top-2, factor 1): top-2 kx is better than top-2 1x by 0.0290',
    ])
  })

  test('answers for k and for C with direction, size and what survives, in two sentences', () => {
    expect(verdicts[0]).toBe(
      "More experts a token (k): with capacity kx better in 1 of 1 comparison by 0.0300 nats a token (1 after Holm's correction); with capacity 1x no difference found in 1. More capacity (C): with a larger factor or no limit no difference found in 1 comparison; with kx instead of 1x better in 1 of 1 by 0.0290 (1 after Holm's correction).",
    )
  })

  test('gives the range of gains, those lost in the correction counted apart', () => {
    const settings = (k: number) => moe({ k, capacity: 'none' })
    const { verdicts } = view({
      view: 'capacity',
      seeds: [0, 1, 2],
      arms: {
        'top-1': { settings: settings(1) },
        'top-2': { settings: settings(2), effect: -0.1, jitter: 0.001 },
        'top-4': { settings: settings(4), effect: -0.2, jitter: 0.06 },
        'top-8': { settings: settings(8), jitter: 0.1 },
      },
    })
    expect(verdicts[0]).toBe(
      "More experts a token (k): without capacity better in 2 of 3 comparisons by 0.100 to 0.200 nats a token (1 after Holm's correction).",
    )
  })

  test('tells and counts more against less, also where a question lists less against more', () => {
    const factor = (value: number) => moe({ k: 1, capacity: 'kx', factor: value })
    const { verdicts } = view({
      view: 'capacity',
      arms: {
        'top-1': { settings: factor(1.25), dropRate: 0.02 },
        'top-1 ×0.75': {
          settings: factor(0.75),
          effect: 0.2,
          jitter: 0.001,
          dropRate: 0.25,
          trainFlops: 3e13,
        },
      },
    })
    expect(verdicts[0]).toContain('with a larger factor or no limit better in 1 of 1 comparison by 0.200')
    expect(verdicts[1]).toMatch(
      /^Capacity factor \(top-1, capacity kx\): top-1 is better than top-1 ×0\.75 by 0\.2000 .* interval 0\.1980 to 0\.2020, 5 seeds\), at 2\.00 times the FLOPs\. Dropped: 2\.0 % against 25\.0 %\.$/,
    )
  })

  test('has drops beside every claim', () => {
    expect(verdicts.find((verdict) => verdict.startsWith('Experts a token (capacity 1x'))).toMatch(
      /Dropped: 40\.0 % against 10\.0 %\.$/,
    )
    expect(verdicts).toContain('Drops in the last quarter of training go from 3.0 % to 40.0 % (top-2 1x).')
  })

  test('does not compare arms that differ in something else', () => {
    const other = {
      'top-2 kx': { ...arms['top-2 kx'], settings: { ...arms['top-2 kx'].settings, 'model.moe.experts': 16 } },
    }
    const { verdicts } = view({ view: 'capacity', arms: { 'top-1': arms['top-1'], ...other } })
    expect(verdicts.filter((verdict) => verdict.startsWith('Experts a token'))).toEqual([])
  })

  test('keeps prototypes and plain routing apart, though both have k = 1', () => {
    const one = (factor: number, more: Readonly<Record<string, unknown>>): ArmSketch => ({
      settings: moe({ k: 1, capacity: '1x', factor, router: 'top-k', prototypes: 1, ...more }),
    })
    const grouped = { router: 'prototype', prototypes: 2 }
    const { verdicts } = view({
      view: 'capacity',
      arms: { a: one(1, grouped), b: one(1, {}), c: one(2, grouped), d: one(2, {}) },
    })
    const claims = verdicts.filter((verdict) => verdict.startsWith('Capacity factor'))
    expect(claims).toEqual([
      'Capacity factor (2 top-1, capacity 1x): c and a have the same loss in all 5 seeds. Dropped: 3.0 % against 3.0 %.',
      'Capacity factor (top-1, capacity kx): d and b have the same loss in all 5 seeds. Dropped: 3.0 % against 3.0 %.',
    ])
  })

  test('draws a line by factor for each learning rate', () => {
    const at = (rate: number) =>
      [1, 2].map((factor): [string, ArmSketch] => [
        `${rate} ×${factor}`,
        { settings: { ...moe({ k: 1, capacity: 'kx', factor }), 'train.schedule.learningRate': rate } },
      ])
    const { blocks } = view({ view: 'capacity', arms: Object.fromEntries([...at(0.1), ...at(0.2)]) })
    expect(figure(blocks, 'capacity-factor')).toMatchObject({
      series: [
        { name: 'k = 1, learningRate 0.1', x: [1, 2] },
        { name: 'k = 1, learningRate 0.2', x: [1, 2] },
      ],
    })
  })

  test('draws quality against FLOPs on a logarithmic axis, by k', () => {
    expect(figure(blocks, 'capacity-flops')).toMatchObject({
      x: { scale: 'log' },
      points: [
        { label: 'top-1', group: 'k = 1', y: 0 },
        { label: 'top-2 kx', group: 'k = 2', x: expect.closeTo(1.2e14 / 4_096_000, 0) },
        { group: 'k = 2' },
        { group: 'k = 2' },
      ],
    })
    expect(figure(blocks, 'capacity-factor')).toMatchObject({ series: [{ name: 'k = 2, capacity kx', x: [1, 2] }] })
  })
})

describe('prototypes', () => {
  const settings = (more: Readonly<Record<string, unknown>>) => moe({ capacity: '1x', factor: 1.25, ...more })
  const timing = (arm: string, ms: number): Timing => ({
    arm,
    stepMs: ms,
    turnsMs: [ms, 1.1 * ms, 0.9 * ms],
    engine: '',
  })
  const { verdicts, blocks } = view({
    view: 'prototypes',
    arms: {
      'top-1': { settings: settings({ k: 1, router: 'top-k', prototypes: 1 }) },
      'top-2': { settings: settings({ k: 2, router: 'top-k', prototypes: 1 }), effect: -0.01, jitter: 0.001 },
      '2 top-1': { settings: settings({ k: 1, router: 'prototype', prototypes: 2 }), effect: -0.02, jitter: 0.002 },
      'top-2 in turn': {
        settings: settings({ k: 2, router: 'top-k', prototypes: 1, selection: 'sequential' }),
        missing: [0, 1, 2, 3, 4],
      },
    },
    contrasts: [
      { baseline: 'top-1', arm: 'top-2' },
      { baseline: 'top-1', arm: '2 top-1' },
    ],
    timings: [timing('top-1', 100), timing('top-2', 110), timing('2 top-1', 104), timing('top-2 in turn', 121)],
  })

  test('are held against top-k with as many activated experts and the same capacity', () => {
    expect(verdicts).toContainEqual(
      expect.stringMatching(
        /^At as many activated experts and the same capacity, 2 top-1 is better than top-2 by 0\.0100/,
      ),
    )
  })

  test('have a table of step times with both ways of selecting experts', () => {
    const times = blocks.find(
      (block) => block.kind === 'table' && block.columns.some(({ title }) => title === 'Selection'),
    )
    expect(times).toMatchObject({
      rows: [
        ['top-1', 'fused', '100.0 ms', '90.0 to 110.0 ms', '1', '14.6 M'],
        ['top-2', 'fused', '110.0 ms', '99.0 to 121.0 ms', '1.10', '14.6 M'],
        ['2 top-1', 'fused', '104.0 ms', expect.anything(), '1.04', '14.6 M'],
        ['top-2 in turn', 'sequential', '121.0 ms', expect.anything(), '1.21', '–'],
      ],
    })
    expect(verdicts).toContainEqual(
      expect.stringMatching(/^A step of top-2 in turn takes 1\.10 times that of top-2 \(.*3 turns\)/),
    )
  })
})

describe('scale', () => {
  /** Gains at ten times the parameters each: 0.01, then 0.01 + slope, a little apart by seed. */
  const study = (slope: number, seeds: readonly number[] = [0, 1, 2]) =>
    view({
      view: 'scale',
      seeds,
      arms: {
        'small top-1': { parameters: 1e6, settings: moe({ k: 1 }) },
        'small 2 top-1': { parameters: 1e6, effect: -0.01, settings: moe({ router: 'prototype', prototypes: 2 }) },
        'large top-1': { parameters: 1e7, settings: moe({ k: 1 }) },
        'large 2 top-1': {
          parameters: 1e7,
          effect: -0.01 - slope,
          jitter: 0.001,
          settings: moe({ router: 'prototype', prototypes: 2 }),
        },
      },
      contrasts: [
        { baseline: 'small top-1', arm: 'small 2 top-1' },
        { baseline: 'large top-1', arm: 'large 2 top-1' },
      ],
    })

  test('finds a gain that grows, by its slope for tenfold parameters', () => {
    const { verdicts, blocks } = study(0.02)
    // Slopes 0.02 + 0.001 · (−1, 1, 0): standard error 0.001 / √3, t(2) = 4.3027.
    expect(verdicts[0]).toBe(
      '2 top-1 against top-1: the gain grows with model size, by 0.0200 nats a token for tenfold parameters (95 % interval 0.0175 to 0.0225, 3 seeds, 2 sizes from 1.00 M to 10.0 M parameters).',
    )
    expect(figure(blocks, 'scale-gain')).toMatchObject({
      x: { scale: 'log' },
      points: [
        { x: 1e6, y: expect.closeTo(0.01, 9) },
        { x: 1e7, y: expect.closeTo(0.03, 9) },
      ],
      trend: [
        [1e6, expect.closeTo(0.01, 9)],
        [1e7, expect.closeTo(0.03, 9)],
      ],
    })
  })

  /** Two kinds of arms at two sizes each, both with one arm a size against a baseline of that size. */
  const two = (settings: readonly [Settings, Settings], effect: (large: boolean) => ArmSketch) => {
    const sizes = ['small', 'large'] as const
    const shape = (size: string): Partial<ArmSketch> => ({ parameters: size === 'small' ? 1e6 : 1e7 })
    const arms = sizes.flatMap((size) => [
      [`${size} base`, { ...shape(size), settings: moe({ k: 1, capacity: '1x' }) }] as const,
      ...settings.map(
        (more, i) => [`${size} ${i}`, { ...shape(size), ...effect(size === 'large'), settings: more }] as const,
      ),
    ])
    const contrasts = sizes.flatMap((size) =>
      settings.map((_, i) => ({ baseline: `${size} base`, arm: `${size} ${i}` })),
    )
    return view({ view: 'scale', seeds: [0, 1, 2], arms: Object.fromEntries(arms), contrasts })
  }
  const grouped = (more: Settings) => moe({ k: 1, router: 'prototype', prototypes: 2, ...more })

  test('keeps arms apart that differ in more than their size, and names how', () => {
    const { verdicts } = two([grouped({ capacity: '1x' }), grouped({ capacity: 'kx' })], (large) => ({
      effect: large ? -0.03 : -0.01,
      jitter: large ? 0.0001 : 0,
    }))
    expect(verdicts[0]).toMatch(
      /^2 top-1 against top-1 \(capacity 1x\): the gain grows .* 2 sizes .*\. 2 top-1 against top-1 \(capacity kx against 1x\): the gain grows/,
    )
  })

  test('takes a learning rate for each size as part of the size, and two at one size as two families', () => {
    const rate = (value: number) => ({ 'train.schedule.learningRate': value })
    const arms = (rates: readonly number[]) =>
      Object.fromEntries(
        [1e6, 1e7].flatMap((parameters, i) =>
          (rates.length > 2 ? rates : [rates[i] ?? 0]).flatMap((value) => [
            [`${parameters} ${value}`, { parameters, settings: { ...moe({ k: 1 }), ...rate(value) } }],
            [`${parameters} ${value} two`, { parameters, settings: { ...grouped({}), ...rate(value) } }],
          ]),
        ),
      )
    const answer = (rates: readonly number[]) => {
      const sketches = arms(rates)
      const baselines = Object.keys(sketches).filter((name) => !name.endsWith('two'))
      const contrasts = baselines.map((baseline) => ({ baseline, arm: `${baseline} two` }))
      return view({ view: 'scale', arms: sketches, contrasts }).verdicts[0]
    }
    expect(answer([0.1, 0.2])).toMatch(/^2 top-1 against top-1: no trend .* 2 sizes from 1\.00 M to 10\.0 M/)
    expect(answer([0.1, 0.2, 0.3])?.match(/\(learningRate 0\.[123]\): no trend/g)).toHaveLength(3)
  })

  test('holds trends to one correction', () => {
    // t(2) = 0.02 / (0.006 / √3) = 5.8, p = 0.028: alone a trend, one of two not.
    const weak = (large: boolean): ArmSketch => (large ? { effect: -0.03, jitter: 0.006 } : { effect: -0.01 })
    const { verdicts } = two([grouped({ capacity: '1x' }), grouped({ capacity: 'kx' })], weak)
    expect(verdicts[0]?.match(/the gain grows/g)).toHaveLength(2)
    expect(
      verdicts[0]?.match(/does not survive Holm's correction for the 2 trends of this section, so it may be chance\./g),
    ).toHaveLength(2)
  })

  test('finds none, a shrinking one, and none yet with one seed', () => {
    expect(study(0.001).verdicts[0]).toMatch(/no trend of the gain with model size found: \+0\.0010/)
    expect(study(-0.02).verdicts[0]).toMatch(/the gain shrinks with model size: −0\.0200/)
    expect(study(0.02, [3]).verdicts[0]).toMatch(/one seed has no interval, so no trend is found yet/)
  })
})

describe('convergence', () => {
  const line = (...points: readonly (readonly [number, number])[]) => ({ evaluations: () => points })
  const baseline = { ...line([0, 5], [500, 4], [1000, 3]), seconds: 100 }

  test('interpolates between two evaluations', () => {
    // From 3.5 at 500 to 2.5 at 1000, the loss 3 is passed at 750: 1000 / 750 = 1.33 in steps.
    const arm = { ...line([0, 5], [500, 3.5], [1000, 2.5]), seconds: 120, effect: -0.5 }
    const { verdicts, blocks } = view({ view: 'convergence', arms: { baseline, arm } })
    expect(verdicts[0]).toMatch(
      /^arm reaches the final loss of baseline with all 5 seeds\. In steps it is 1\.33 times as fast/,
    )
    // 1000 · 0.1 s against 750 · 0.12 s.
    expect(blocks[0]).toMatchObject({
      rows: [['arm', 'baseline', '3.000', '5 of 5', '1000', '750', '1.33', '100 s', '90.0 s', '1.11']],
    })
  })

  test('takes the time of a step alone on the machine where it is known', () => {
    const arm = { ...line([0, 5], [500, 3.5], [1000, 2.5]), seconds: 999 }
    const timings = ['baseline', 'arm'].map((name) => ({ arm: name, stepMs: 200, turnsMs: [200], engine: '' }))
    const { blocks } = view({ view: 'convergence', arms: { baseline, arm }, timings })
    expect(blocks[0]).toMatchObject({ rows: [expect.arrayContaining(['2.5 min', '3.3 min', '1.33'])] })
  })

  test('in time is claimed only as far as the step times over turns allow', () => {
    const arm = line([0, 5], [500, 3.5], [1000, 2.5])
    const inTime = (...ms: number[]) =>
      view({
        view: 'convergence',
        arms: { baseline, arm },
        timings: [
          { arm: 'baseline', stepMs: 20, turnsMs: [20, 20, 20].slice(0, ms.length), engine: '' },
          { arm: 'arm', stepMs: 20, turnsMs: ms, engine: '' },
        ],
      }).verdicts[0]
    // Steps are 4/3 as fast with every seed, so the interval is that of three turns: t(2) = 4.3027.
    expect(inTime(14, 20, 28)).toMatch(/The step times do not tell which is sooner in time: 1\.34 times as fast/)
    expect(inTime(20)).toMatch(/The step times do not tell which is sooner in time: there is no interval for them\.$/)
    const half = (4.3027 * Math.log(1.01)) / Math.sqrt(3)
    const ends = [-half, half].map((by) => ((4 / 3) * Math.exp(by)).toFixed(2))
    expect(inTime(20 / 1.01, 20, 20 * 1.01)).toMatch(
      new RegExp(`In time it is 1\\.33 times as fast \\(95 % interval ${ends.join(' to ')}\\)\\.$`),
    )
  })

  test('of several arms shares one correction over their speed-ups', () => {
    // Alone p = 0.04, as in the differences of loss: of four arms none survives.
    const weak: ArmSketch = {
      evaluations: (seed) => {
        const steps = 1000 / Math.exp(0.004 * Math.sqrt(2.5 / 5) * 0.75 + 0.001 * ([1, -1, 2, -2, 0][seed] ?? 0))
        return [
          [0, 5],
          [steps, 3],
        ]
      },
    }
    const one = view({ view: 'convergence', arms: { baseline: line([0, 5], [1000, 3]), a: weak } })
    const four = view({
      view: 'convergence',
      arms: { baseline: line([0, 5], [1000, 3]), a: weak, b: weak, c: weak, d: weak },
      timings: ['baseline', 'a', 'b', 'c', 'd'].map((arm) => ({ arm, stepMs: 20, turnsMs: [20], engine: '' })),
    })
    expect(one.verdicts[0]).toMatch(/In steps it is 1\.0021 times as fast/)
    expect(four.verdicts[0]).toMatch(/: sooner, but not after Holm's correction: a \(1\.00 times as fast\), b/)
    expect(four.verdicts[1]).toContain(
      "does not survive Holm's correction for the 4 speed-ups of this section, so it may be chance",
    )
  })

  test('cannot be told from evaluations on different batches', () => {
    const arm = { ...line([0, 5], [500, 3.5], [1000, 2.5]), settings: { 'train.evalBatches': 4 } }
    const { verdicts, blocks } = view({ view: 'convergence', arms: { baseline, arm } })
    expect(verdicts[0]).toBe(
      'arm against baseline: which is sooner cannot be told, since their steps or evaluations are of different batches (train.evalBatches 4 against 0).',
    )
    expect(blocks.filter(({ kind }) => kind === 'table')).toHaveLength(1)
  })

  test('that is never reached has no number', () => {
    const arm = { ...line([500, 4.5], [1000, 3.2]), effect: 0.2 }
    const { verdicts, blocks } = view({ view: 'convergence', arms: { baseline, arm } })
    expect(verdicts[0]).toBe('arm never reaches the final loss of baseline (5 seeds).')
    expect(blocks[0]).toMatchObject({ rows: [['arm', 'baseline', '3.000', '0 of 5', '1000', '–', '–', '–', '–', '–']] })
  })

  test('reached with some seeds only claims no speed-up', () => {
    const arm = {
      evaluations: (seed: number) =>
        [
          [500, 3.5],
          [1000, seed < 3 ? 2 : 3.1],
        ] as const,
    }
    const { verdicts } = view({ view: 'convergence', arms: { baseline, arm } })
    expect(verdicts[0]).toMatch(/with 3 of 5 seeds only; no speed-up is claimed/)
  })

  test('holds the baseline to the same measure when it is past its best', () => {
    // The baseline passes its own final loss of 3 at 500 already.
    const past = line([0, 4], [500, 3], [750, 2.5], [1000, 3])
    const arm = line([0, 4], [500, 3], [1000, 2])
    expect(view({ view: 'convergence', arms: { past, arm } }).verdicts[0]).toMatch(
      /no difference in speed is found: 1\.00/,
    )
  })
})

describe('specialisation', () => {
  const one = (arm: string, seed: number, nats: number): Specialisation => ({
    arm,
    seed,
    source: 'sotu',
    tokens: 5000,
    periods: ['1800s', '1900s'],
    parties: ['Whig'],
    information: [{ of: 'token', nats, shuffled: 0.1, entropy: 2 }],
    experts: [
      {
        layer: 0,
        expert: 0,
        share: 0.6,
        tokens: [{ text: 'of', count: 90, share: 0.8 }],
        periods: [1.5, 0.5],
        parties: [Number.NaN],
      },
    ],
  })
  const section = analyse(
    studyOf({
      arms: {
        'top-2': { settings: moe({ k: 2 }) },
        '2 top-1': { settings: moe({ router: 'prototype', prototypes: 2 }) },
      },
      specialisations: [one('top-2', 0, 0.5), one('top-2', 1, 0.52), one('2 top-1', 0, 0.9), one('2 top-1', 1, 0.92)],
    }),
  ).sections.find(({ id }) => id === 'specialisation')

  test('compares prototypes with plain routing as a share of entropy above chance', () => {
    // (0.91 − 0.1) / 2 against (0.51 − 0.1) / 2.
    expect(section?.verdicts[0]).toBe(
      "Experts of 2 top-1 against those of top-2 on sotu, share of the expert's entropy above chance: of the token 40.5 % against 20.5 % (more: difference 20.0 points, 95 % interval 20.0 to 20.0, 2 seeds).",
    )
  })

  test('tabulates information and tokens, and leaves gaps where a party has no tokens', () => {
    expect(section?.blocks[0]).toMatchObject({
      rows: [
        ['top-2', 'sotu', '2', 'token', '0.5100', '0.1000', '2.000', '25.5 %', '20.5 %'],
        ['2 top-1', 'sotu', '2', 'token', '0.9100', '0.1000', '2.000', '45.5 %', '40.5 %'],
      ],
    })
    expect(figure(section?.blocks ?? [], 'specialisation-top-2-sotu-party')).toMatchObject({
      panels: [{ values: [[null]] }],
    })
    expect(section?.blocks).toContainEqual(
      expect.objectContaining({ rows: [['layer 0, expert 0', '60.0 %', '“of” 80 %']] }),
    )
  })
})

test('the level of synthetic losses is what their tables show', () => {
  const { blocks } = view({ arms: { base: {}, arm: {} }, seeds: [0] })
  expect(blocks).toContainEqual(
    expect.objectContaining({ rows: expect.arrayContaining([expect.arrayContaining([LEVEL.toFixed(3)])]) }),
  )
})
