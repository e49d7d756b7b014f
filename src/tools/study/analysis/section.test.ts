/** Sections of studies with known effects: their answers, tables and figures. */
import { describe, expect, test } from 'vitest'
import type { Block, Cell, ScatterFigure, Table } from '../../report/blocks.ts'
import { claimSchema } from '../claim.ts'
import type { Specialisation } from '../contract.ts'
import { type ArmSketch, type StudySketch, studyOf } from '../testing/results.ts'
import { analyse } from './analyse.ts'

const view = (sketch: StudySketch) => {
  const results = studyOf(sketch)
  const id = results.questions[0]?.id
  return analyse(results).sections.find((section) => section.id === id) ?? { verdicts: [], blocks: [] }
}
const figure = (blocks: readonly Block[], id: string) =>
  blocks.find((block) => block.kind === 'figure' && block.id === id)
const tableWith = (blocks: readonly Block[], title: string): Table => {
  const found = blocks.find((block) => block.kind === 'table' && block.columns.some((column) => column.title === title))
  if (found?.kind !== 'table') throw new Error(`no table with ${title}`)
  return found
}
const text = (cell: Cell | undefined): string =>
  typeof cell === 'string' ? cell : cell && 'text' in cell ? cell.text : ''
const cell = (table: Table, row: number, title: string): Cell =>
  table.rows[row]?.[table.columns.findIndex((column) => column.title === title)] ?? ''
const moe = (settings: Readonly<Record<string, unknown>>) =>
  Object.fromEntries(Object.entries(settings).map(([name, value]) => [`model.moe.${name}`, value]))

describe('a table of contrasts', () => {
  test('has the difference with the interval worked out by hand, and the forest plot has it too', () => {
    const { blocks } = view({ arms: { 'top-1': {}, '2 top-1': { effect: -0.021, jitter: 0.005 } } })
    // Standard deviation 0.005 · √2.5, t(4) = 2.7764.
    const half = (2.7764451 * 0.005 * Math.sqrt(2.5)) / Math.sqrt(5)
    expect(cell(tableWith(blocks, 'Difference'), 0, 'Difference')).toEqual({
      text: '−0.0210',
      note: `−${(0.021 + half).toFixed(4)} to −${(0.021 - half).toFixed(4)}`,
      tone: 'better',
      exact: {
        values: [expect.closeTo(-0.021, 9)],
        interval: [expect.closeTo(-0.021 - half, 6), expect.closeTo(-0.021 + half, 6)],
      },
    })
    expect(figure(blocks, 'plain-forest')).toMatchObject({
      zero: 0,
      sides: ['better', 'worse'],
      rows: [{ label: '2 top-1', mean: expect.closeTo(-0.021, 9), low: expect.closeTo(-0.021 - half, 6) }],
    })
  })

  test('has the costs, and which arm is better at equal cost', () => {
    const { blocks } = view({
      arms: { base: { trainFlops: 6e13 }, arm: { effect: -0.021, jitter: 0.001, trainFlops: 9e13 } },
      timings: [
        { arm: 'base', stepMs: 100, turnsMs: [100, 200], engine: '' },
        { arm: 'arm', stepMs: 120, turnsMs: [120, 240], engine: '' },
      ],
    })
    const table = tableWith(blocks, 'Difference')
    expect(['FLOPs', 'Step time'].map((title) => text(cell(table, 0, title)))).toEqual(['1.50', '1.20'])
    // Losses fall by 1 in 1000 steps: at two thirds of them the loss of the arm is higher by 0.333, and in the end lower by
    // 0.021.
    expect(['Per FLOP', 'Per second'].map((title) => text(cell(table, 0, title)))).toEqual(['open', 'open'])
  })

  test('has drops and unserved tokens of the evaluation that verdicts use, and dashes for a dense arm', () => {
    const arms = {
      base: { dropRate: 0 },
      arm: { dropRate: 0.12, unserved: 0.05 },
      dense: { settings: { 'model.moe': null } },
    }
    const drops = (capacity: 'train' | 'eval', row: number) =>
      cell(tableWith(view({ arms, capacity }).blocks, 'Dropped'), row, 'Dropped')
    expect(drops('train', 0)).toEqual({ text: '12.0 %', note: '5.0 % unserved' })
    // The builder gives the evaluation a quarter of the drops.
    expect(drops('eval', 0)).toEqual({ text: '3.0 %', note: '0.0 % unserved' })
    expect(drops('train', 1)).toEqual({ text: '–', note: '– unserved' })
  })

  test('is followed by gates and entropy shares of all its arms, by layer, at the end of training', () => {
    const [eight, log8] = [{ experts: 8 }, Math.log(8)]
    const arms = {
      base: { settings: moe(eight), gates: [0.125, 0.5], entropies: [log8, 0.5 * log8] },
      // Two of eight experts, each from a prototype of four.
      prototypes: {
        settings: moe({ ...eight, router: 'prototype', prototypes: 2 }),
        gates: [0.5, 1.5],
        entropies: [Math.log(4), 0.25 * Math.log(4)],
      },
      older: { settings: moe(eight), entropies: [0.75 * log8, 0.5 * log8] },
      hash: { settings: moe({ ...eight, router: 'hash' }), gates: [1, 0.98], entropies: [0, 0] },
      dense: { settings: { 'model.moe': null } },
    }
    const expected = [
      ['base', '0.13 0.50', '1.00 0.50'],
      ['prototypes', '0.50 1.50', '1.00 0.25'],
      ['older', '–', '0.75 0.50'],
      ['hash', '1.00 0.98', '–'],
      ['dense', '–', '–'],
    ]
    expect(tableWith(view({ arms }).blocks, 'Gate').rows.map((row) => row.map(text))).toEqual(expected)
    const all = analyse(studyOf({ arms })).sections.find(({ id }) => id === 'arms')?.blocks ?? []
    const costs = tableWith(all, 'Gate')
    for (const [row, cells] of expected.entries())
      expect(['Arm', 'Gate', 'Entropy share'].map((title) => text(cell(costs, row, title)))).toEqual(cells)
    const dense = view({ arms: { dense: arms.dense, other: arms.dense } })
    expect(() => tableWith(dense.blocks, 'Gate')).toThrow('no table')
  })

  test('has at most six layers in a cell of a deep model', () => {
    const results = studyOf({ arms: { base: { gates: [0.5] }, arm: {} } })
    const cells = results.cells.map((one) => {
      if (one.record?.status !== 'finished') return one
      const [router] = one.record.layers
      const layers = Array.from({ length: 8 }, (_, layer) => ({ ...router, layer }) as NonNullable<typeof router>)
      return { ...one, record: { ...one.record, layers } }
    })
    const [section] = analyse({ ...results, cells }).sections.filter(({ id }) => id === 'plain')
    const table = tableWith(section?.blocks ?? [], 'Gate')
    expect(text(cell(table, 0, 'Gate'))).toBe('0.50 0.50 0.50 … 0.50 0.50 0.50')
  })

  test('shows both learning rates if there was a sweep, and marks a sign that depends on them', () => {
    const arms = { base: {}, arm: { effect: 0.1, jitter: 0.001, best: -0.2 } }
    expect(tableWith(view({ arms }).blocks, 'Difference').columns.map(({ title }) => title)).not.toContain(
      'At common rate',
    )
    const tuning = [{ arm: 'arm', budgetSteps: 10, trials: [], best: 0.1 }]
    const table = tableWith(view({ arms, tuning }).blocks, 'At common rate')
    expect(text(cell(table, 0, 'Difference'))).toBe('−0.1000 §')
    expect(text(cell(table, 0, 'At common rate'))).toBe('+0.1000')
    expect(table.caption).toContain('§ Which of the two')
  })

  test('marks a sign that depends on the capacity, and arms that see later tokens with their gain', () => {
    const arms = {
      base: {},
      turning: { effect: -0.1, jitter: 0.001, at: { eval: 0.3 } },
      seer: { effect: -0.1, leak: { train: 0.213, eval: 0.1 } },
    }
    const { blocks } = view({ arms })
    const table = tableWith(blocks, 'Difference')
    expect(table.rows.map((row) => [text(row[0]), text(row[1])])).toEqual([
      ['turning', '−0.1000 ‡'],
      ['seer †', '−0.1000'],
    ])
    expect(table.caption).toMatch(/† sees later tokens, .* in nats a token: seer 0\.213\./)
    expect(figure(blocks, 'plain-forest')).toMatchObject({ rows: [{ label: 'turning' }, { label: 'seer †' }] })
    expect(figure(blocks, 'plain-difference')).toMatchObject({ series: [{ name: 'turning' }, { name: 'seer †' }] })
    const evaluated = view({ arms, capacity: 'eval' })
    expect(tableWith(evaluated.blocks, 'Difference').caption).toContain('seer 0.100.')
    // Without capacity only a part of the user's own can see later tokens.
    const own = {
      effect: -0.1,
      leak: { train: 0.2, eval: 0.3 },
      settings: { 'model.layer': { own: 'a-layer@0123456789abcdef' } },
    }
    const free = tableWith(view({ arms: { ...arms, own }, capacity: 'none' }).blocks, 'Difference')
    expect(free.rows.map((row) => text(row[0]))).toEqual(['turning', 'seer', 'own †'])
    expect(free.caption).toMatch(/in nats a token: own 0\.300\./)
  })

  test('compares the seeds that both arms finished on the same text', () => {
    const arms = {
      base: { failed: [1] },
      arm: { effect: -0.02, jitter: 0.001, missing: [4] },
      other: { effect: -0.02, corpus: 'another' },
    }
    const { verdicts, blocks } = view({ arms })
    expect(figure(blocks, 'plain-forest')).toMatchObject({ rows: [{ label: 'arm', values: { length: 3 } }] })
    expect(verdicts[1]).toBe(
      'Left out, because the two runs of a pair saw different text or tokens: other against base.',
    )
  })

  test('explains its columns in the first section only', () => {
    const arms = { base: {}, arm: { effect: -0.02 } }
    const contrasts = [{ baseline: 'base', arm: 'arm' }]
    const questions = ['a', 'b'].map((id) => ({ id, title: id, about: '', view: 'plain' as const, contrasts }))
    const captions = analyse(studyOf({ arms, questions }))
      .sections.filter(({ id }) => id === 'a' || id === 'b')
      .map(
        ({ blocks }) =>
          tableWith(blocks, 'Difference').caption.includes('Unserved:') ||
          tableWith(blocks, 'Difference').caption.includes('unserved:'),
      )
    expect(captions).toEqual([true, false])
  })
})

test('losses that differ only by rounding do not differ in the table', () => {
  // One unit in the last place of a loss near 3.
  const { verdicts, blocks } = view({ arms: { base: {}, arm: { effect: -(2 ** -51) } }, seeds: [0, 1] })
  const table = tableWith(blocks, 'Difference')
  expect(cell(table, 0, 'Difference')).toMatchObject({ tone: 'open', exact: { values: [0], interval: [0, 0] } })
  expect(text(cell(table, 0, 'p (Holm)'))).toBe('1.000')
  expect(verdicts[0]).toBe("Of 1 contrast, after Holm's correction: none differs.")
})

describe('a study with branches', () => {
  const arms = {
    base: { branches: { 0.125: 0.5, 0.5: 0.2 } },
    arm: { effect: -0.02, jitter: 0.001, branches: { 0.125: 0.56, 0.5: 0.23 } },
  }

  test('has the answers of whole runs, as the same study without its branches', () => {
    const whole = { base: {}, arm: { effect: -0.02, jitter: 0.001 } }
    const [table, plain] = [arms, whole].map((of) => tableWith(view({ arms: of }).blocks, 'p (Holm)'))
    expect(table).toEqual(plain)
    expect(view({ arms }).verdicts).toEqual(view({ arms: whole }).verdicts)
  })

  test('has each difference over the tokens of its branches in a table and a figure', () => {
    const { blocks } = view({ arms })
    const table = tableWith(blocks, 'Tokens')
    // Whole runs have 4.096 M tokens. Of the active parameters, 4,204,800 compute: 4,096·256 of the head, 256 of its norm,
    // and in each of 4 layers 4·256² of attention, 2·256·1,024 of one expert, 8·256 of the router and 2·256 of norms.
    // The arm is worse early, -0.02 + 0.06, then better.
    expect(table.rows.map((row) => row.map(text))).toEqual([
      ['arm', '512k', '0.122', '5', '+0.0400'],
      ['arm', '2.05 M', '0.487', '5', '+0.0100'],
      ['arm', '4.10 M', '0.974', '5', '−0.0200'],
    ])
    const half = (2.7764451 * 0.001 * Math.sqrt(2.5)) / Math.sqrt(5)
    const near = (value: number) => expect.closeTo(value, 6)
    expect(figure(blocks, 'plain-tokens')).toMatchObject({
      x: { scale: 'log' },
      series: [
        {
          name: 'arm',
          x: [512_000, 2_048_000, 4_096_000],
          y: [near(0.04), near(0.01), near(-0.02)],
          low: [near(0.04 - half), near(0.01 - half), near(-0.02 - half)],
          high: [near(0.04 + half), near(0.01 + half), near(-0.02 + half)],
          dots: { length: 15 },
        },
      ],
    })
  })

  test('leaves out lengths without a pair, and names the baselines if there are several', () => {
    const contrasts = [
      { baseline: 'base', arm: 'arm' },
      { baseline: 'arm', arm: 'late' },
    ]
    const late = { effect: -0.1, branches: { 0.5: 0.1 } }
    const { blocks } = view({ arms: { ...arms, late }, contrasts })
    expect(tableWith(blocks, 'Tokens').rows.map((row) => [text(row[0]), text(row[1])])).toEqual([
      ['arm', '512k'],
      ['arm', '2.05 M'],
      ['arm', '4.10 M'],
      ['late', '2.05 M'],
      ['late', '4.10 M'],
    ])
    expect(figure(blocks, 'plain-tokens')).toMatchObject({
      series: [{ name: 'arm against base' }, { name: 'late against arm', x: [2_048_000, 4_096_000] }],
    })
  })

  test('is needed for a figure over tokens', () => {
    const { blocks } = view({ arms: { base: {}, arm: {} } })
    expect(figure(blocks, 'plain-tokens')).toBeUndefined()
  })

  test('lists a missing branch with its share', () => {
    const results = studyOf({ arms })
    const cells = results.cells.map((cell) =>
      cell.arm === 'arm' && cell.seed === 2 && cell.share === 0.125 ? { ...cell, record: null } : cell,
    )
    const missing = analyse({ ...results, cells }).sections.find(({ id }) => id === 'missing')
    expect(missing?.blocks).toMatchObject([{ rows: [['arm, 0.125 of the steps', '2', 'not run yet', '']] }])
  })
})

describe('a question without a claim', () => {
  // A single arm at t = 3 with 4 degrees of freedom has p = 0.04; of six such arms none survives the correction.
  const weak = { effect: -0.003 * Math.sqrt(2.5 / 5), jitter: 0.001 }

  test('counts the arms that are better and worse after the correction, and those that are so only without it', () => {
    const verdict = (arms: Readonly<Record<string, ArmSketch>>) => view({ arms: { base: {}, ...arms } }).verdicts[0]
    expect(verdict({ a: weak })).toBe("Of 1 contrast, after Holm's correction: 1 better than the baseline.")
    expect(verdict({ a: weak, b: weak, c: weak, d: weak, e: weak, f: weak })).toBe(
      "Of 6 contrasts, after Holm's correction: none differs; without the correction 6 more, which may be chance.",
    )
    expect(verdict({ a: { effect: 0.1, jitter: 0.001 }, b: { effect: -0.1, jitter: 0.001 } })).toContain(
      '1 better and 1 worse than the baseline',
    )
  })

  test('finds nothing with one seed, or without runs', () => {
    const arms = { base: {}, arm: { effect: -0.5 } }
    expect(view({ arms, seeds: [7] }).verdicts[0]).toMatch(/one seed, which has no interval: nothing is found yet/)
    expect(view({ arms: { ...arms, arm: { missing: [7] } }, seeds: [7] }).verdicts[0]).toBe('Not enough runs yet.')
  })
})

describe('a claim in its section', () => {
  const claimed = (arms: Readonly<Record<string, ArmSketch>>, more: object = {}) =>
    view({
      arms: { base: {}, ...arms },
      claims: [
        claimSchema.parse({
          kind: 'difference',
          statement: 'Arms are better',
          source: 'arXiv 2105.15082',
          expect: 'better',
          ...more,
        }),
      ],
    })

  test('is answered in one sentence with its number', () => {
    expect(claimed({ arm: { effect: -0.02, jitter: 0.003 } }).verdicts).toEqual([
      '“Arms are better” (arXiv 2105.15082) holds here: −0.0200 nats a token (95 % interval −0.0259 to −0.0141, 5 seeds).',
    ])
    expect(claimed({ arm: { effect: 0.02, jitter: 0.003 } }).verdicts[0]).toContain('does not hold here: +0.0200')
    expect(claimed({ arm: { missing: [0, 1, 2, 3, 4] } }).verdicts[0]).toContain(
      'is undecided here: not enough runs yet.',
    )
  })

  test('that does not survive the correction is marked, and so is a claim with an arm that sees later tokens', () => {
    const weak = { effect: -0.003 * Math.sqrt(2.5 / 5), jitter: 0.001 }
    expect(claimed({ a: weak, b: weak, c: weak }).verdicts[0]).toMatch(
      /” \(arXiv 2105.15082\) holds ° here: .*; °: does not survive Holm's correction\.$/,
    )
    expect(claimed({ arm: { effect: -0.1, leak: { train: 0.1, eval: 0.1 } } }).verdicts[0]).toMatch(
      /holds here: .*†: an arm sees later tokens, so this is no answer for a causal model\.$/,
    )
  })

  test('about several contrasts has a row for each of them', () => {
    const { blocks } = claimed({ a: { effect: -0.1, jitter: 0.001 }, b: { effect: 0.1, jitter: 0.001 } })
    expect(tableWith(blocks, 'Claim').rows.map((row) => [text(row[0]), text(row[1])])).toEqual([
      ['a against base', 'holds'],
      ['b against base', 'does not hold'],
    ])
  })

  test('is shown with the experiments that tried to refute it', () => {
    const controls = [{ name: 'without a capacity', contrast: ['base', 'arm'], capacity: 'none' }]
    const result = (none: number) =>
      tableWith(claimed({ arm: { effect: 0.1, jitter: 0.001, at: { none } } }, { controls }).blocks, 'Experiment')
        .rows[0]
    expect(result(0)?.map(text)).toEqual(['without a capacity', 'same answer', '+0.1000'])
    expect(result(-0.3)?.map(text)).toEqual(['without a capacity', 'other answer', '−0.2000'])
    expect(result(-0.1)?.map(text)[1]).toBe('undecided')
    // Two experiments that cannot tell do not confirm each other.
    const open = { effect: 0, jitter: 0.1, at: { none: 0 } }
    const both = tableWith(claimed({ arm: open }, { controls }).blocks, 'Experiment').rows[0]
    expect(both?.map(text)[1]).toBe('undecided too')
  })
})

describe('a view', () => {
  test('of imbalance draws c_v and loss, and excludes expert choice from the line', () => {
    const arms = {
      even: { cv: 0.1 },
      ...Object.fromEntries([0.01, 0.02, 0.03].map((effect, i) => [`arm ${i}`, { cv: 0.3 + 0.2 * i, effect }])),
    }
    const choosing = { cv: 0, effect: -0.5, settings: moe({ router: 'expert-choice' }) }
    const drawn = (more: Readonly<Record<string, ArmSketch>>) =>
      figure(view({ view: 'imbalance', arms: { ...arms, ...more } }).blocks, 'imbalance-imbalance-loss') as
        | ScatterFigure
        | undefined
    expect(drawn({})).toMatchObject({ points: { length: 4 }, trend: { length: 2 } })
    // Two points show no shape; the table of contrasts has them.
    const two = { even: { cv: 0.1 }, uneven: { cv: 0.9, effect: 0.1 } }
    expect(figure(view({ view: 'imbalance', arms: two }).blocks, 'imbalance-imbalance-loss')).toBeUndefined()
    expect(drawn({ choosing })?.points.at(-1)).toMatchObject({ label: 'choosing', group: 'expert choice' })
    expect(drawn({ choosing })?.trend).toEqual(drawn({})?.trend)
  })

  test('of capacity draws quality against FLOPs on a logarithmic axis, by k', () => {
    const { blocks } = view({
      view: 'capacity',
      arms: {
        'top-1': { settings: moe({ k: 1 }) },
        'top-2': { settings: moe({ k: 2 }), effect: -0.03, jitter: 0.001, trainFlops: 1.2e14 },
        dense: { settings: { 'model.moe': null }, effect: 0.1 },
      },
    })
    expect(figure(blocks, 'capacity-flops')).toMatchObject({
      x: { scale: 'log' },
      points: [
        { label: 'top-1', group: 'k = 1', y: 0 },
        { label: 'top-2', group: 'k = 2', x: expect.closeTo(1.2e14 / 4_096_000, 0), y: expect.closeTo(-0.03, 9) },
        { group: 'dense' },
      ],
    })
  })

  test('of prototypes has step times with both ways of selecting experts', () => {
    const settings = (more: Readonly<Record<string, unknown>>) => moe({ capacity: '1x', ...more })
    const timing = (arm: string, ms: number) => ({ arm, stepMs: ms, turnsMs: [ms, 1.1 * ms, 0.9 * ms], engine: '' })
    const { blocks } = view({
      view: 'prototypes',
      arms: {
        'top-1': { settings: settings({ k: 1 }) },
        'top-2': { settings: settings({ k: 2 }), effect: -0.01, jitter: 0.001 },
        'top-2 in turn': { settings: settings({ k: 2, selection: 'sequential' }), missing: [0, 1, 2, 3, 4] },
      },
      contrasts: [{ baseline: 'top-1', arm: 'top-2' }],
      timings: [timing('top-1', 100), timing('top-2', 110), timing('top-2 in turn', 121)],
    })
    expect(tableWith(blocks, 'Selection').rows.map((row) => row.map(text))).toEqual([
      ['top-1', 'fused', '100.0 ms', '90.0 to 110.0 ms', '1', '14.6 M'],
      ['top-2', 'fused', '110.0 ms', '99.0 to 121.0 ms', '1.10', '14.6 M'],
      ['top-2 in turn', 'sequential', '121.0 ms', expect.anything(), '1.21', '–'],
    ])
  })

  test('of convergence has the cost until both arms reach the same loss', () => {
    const line = (...points: readonly (readonly [number, number])[]) => ({ evaluations: () => points })
    const baseline = line([0, 5], [500, 4], [1000, 3])
    // From 3.5 at 500 to 2.5 at 1000, the loss 3 is passed at 750.
    const arm = { ...line([0, 5], [500, 3.5], [1000, 2.5]), seconds: 120, trainFlops: 9e13 }
    const { blocks } = view({ view: 'convergence', arms: { baseline, arm } })
    expect(tableWith(blocks, 'Seconds').rows[0]?.map(text)).toEqual([
      'arm',
      '3.000',
      '1000',
      '750',
      '0.750',
      '1.125',
      '0.900',
    ])
    const other = { ...arm, settings: { 'train.evalBatches': 4 } }
    const mismatched = view({ view: 'convergence', arms: { baseline, arm, other } })
    expect(tableWith(mismatched.blocks, 'Seconds')).toMatchObject({
      rows: { length: 1 },
      caption: expect.stringContaining('so not compared: other (train.evalBatches 4 against 0)'),
    })
  })

  test('of scale has one line for each kind of contrast, also against a dense arm', () => {
    const size = (width: number) => ({ 'model.width': width, 'train.steps': 10 * width })
    const sizes = [32, 64, 128]
    const arms = Object.fromEntries(
      sizes.flatMap((width): [string, ArmSketch][] => [
        [`${width} dense`, { settings: { ...size(width), 'model.moe': null }, parameters: 1000 * width }],
        [`${width} top-1`, { settings: { ...size(width), ...moe({ hidden: 2 * width }) }, parameters: 4000 * width }],
        [
          `${width} top-2`,
          { settings: { ...size(width), ...moe({ hidden: 2 * width, k: 2 }) }, parameters: 4000 * width },
        ],
      ]),
    )
    const contrasts = ['top-1', 'top-2'].flatMap((arm) =>
      sizes.map((width) => ({ baseline: `${width} ${arm === 'top-1' ? 'dense' : 'top-1'}`, arm: `${width} ${arm}` })),
    )
    const { blocks } = view({ view: 'scale', arms, contrasts })
    expect(tableWith(blocks, 'Slope').rows.map((row) => [text(row[0]), text(row[1])])).toEqual([
      ['top-1 against dense', '3'],
      ['top-2 against top-1', '3'],
    ])
  })

  test('of scale leaves a seed that lacks a size out of the trend, which is not straight', () => {
    const sizes = [32, 64, 128]
    const arms = Object.fromEntries(
      sizes.flatMap((width, i): [string, ArmSketch][] => {
        const of = { 'model.width': width }
        const effect = [0, -0.1, -0.3][i] ?? 0
        return [
          [`${width} top-1`, { settings: { ...of, ...moe({ k: 1 }) }, parameters: 1000 * width }],
          [
            `${width} top-2`,
            {
              settings: { ...of, ...moe({ k: 2 }) },
              parameters: 1000 * width,
              effect,
              ...(i === 2 && { failed: [4] }),
            },
          ],
        ]
      }),
    )
    const contrasts = sizes.map((width) => ({ baseline: `${width} top-1`, arm: `${width} top-2` }))
    const { blocks } = view({ view: 'scale', arms, contrasts })
    const table = tableWith(blocks, 'Slope')
    // A gain of 0.3 in two doublings, for ten times the parameters. The first two sizes alone have 0.332.
    const slope = 0.3 / (2 * Math.log10(2))
    expect(['Seeds', 'Slope'].map((title) => text(cell(table, 0, title)))).toEqual(['4', `+${slope.toFixed(3)}`])
    const [start, end] = (figure(blocks, 'scale-gain') as ScatterFigure | undefined)?.trend ?? []
    expect((end?.[1] ?? 0) - (start?.[1] ?? 0)).toBeCloseTo(0.3, 9)
  })

  test('of scale names the capacity of both arms in its table and figures if arms of the section differ in it', () => {
    const kinds = {
      'top-1 limited': moe({ k: 1, capacity: 'kx', factor: 1.25 }),
      '2 top-1 1x': moe({ router: 'prototype', k: 1, prototypes: 2, capacity: '1x', factor: 1.25 }),
      'top-2': moe({ k: 2, capacity: 'none' }),
      '2 top-1': moe({ router: 'prototype', k: 1, prototypes: 2, capacity: 'none' }),
      dense: { 'model.moe': null },
      'top-1': moe({ k: 1, capacity: 'none' }),
    }
    const sizes = [32, 64, 128]
    const arms = Object.fromEntries(
      sizes.flatMap((width) =>
        Object.entries(kinds).map(([kind, settings]): [string, ArmSketch] => [
          `${width} ${kind}`,
          { settings: { 'model.width': width, ...settings }, parameters: 1000 * width },
        ]),
      ),
    )
    const contrasts = [
      ['top-1 limited', '2 top-1 1x'],
      ['top-2', '2 top-1'],
      ['dense', 'top-1'],
    ].flatMap(([baseline, arm]) => sizes.map((width) => ({ baseline: `${width} ${baseline}`, arm: `${width} ${arm}` })))
    const { blocks } = view({ view: 'scale', arms, contrasts })
    const names = [
      '2 top-1 1x ×1.25 against top-1 ×1.25',
      '2 top-1 dropless against top-2 dropless',
      'top-1 dropless against dense',
    ]
    expect(tableWith(blocks, 'Slope').rows.map((row) => text(row[0]))).toEqual(names)
    const ids = [
      'scale-gain-2-top-1-1x-1-25-against-top-1-1-25',
      'scale-gain-2-top-1-dropless-against-top-2-dropless',
      'scale-gain-top-1-dropless-against-dense',
    ]
    for (const [i, name] of names.entries()) {
      const drawn = figure(blocks, ids[i] ?? '') as ScatterFigure
      expect(drawn.caption).toContain(`Gain of ${name}:`)
      expect(drawn.points.map(({ group }) => group)).toEqual([name, name, name])
    }
  })

  test('of published trends has one row per claim, with the published number and the number of the study', () => {
    const experts = [2, 4, 8]
    const arms = Object.fromEntries(
      experts.map((n, i) => [`N ${n}`, { effect: -0.05 * i, jitter: 0.001 * i, settings: moe({ experts: n }) }]),
    )
    const along = { arms: Object.keys(arms), over: 'model.moe.experts' }
    const { verdicts, blocks } = view({
      view: 'witness',
      arms,
      contrasts: [],
      claims: [
        { kind: 'trend', statement: 'Loss falls', expect: 'falls', published: '−0.04', source: 'arXiv 2202.01169' },
        { kind: 'trend', statement: 'Loss rises', expect: 'rises' },
        { kind: 'returns', statement: 'Returns diminish', expect: 'diminish' },
      ].map((one) => claimSchema.parse({ ...one, ...along })),
    })
    expect(verdicts).toEqual([
      'Of 3 published claims, this study agrees with 1, disagrees with 1, and leaves 1 undecided.',
    ])
    const table = tableWith(blocks, 'Published')
    expect(table.rows.map((row) => row.slice(0, 3).map(text))).toEqual([
      ['Loss falls', 'agrees', '−0.04'],
      ['Loss rises', 'disagrees', '–'],
      ['Returns diminish', 'undecided', '–'],
    ])
    expect(cell(table, 0, 'Here')).toMatchObject({ text: expect.stringMatching(/^−0\.0500/) })
    // The losses minus the loss of the first arm lie on a line by construction.
    expect(figure(blocks, 'witness-trend-1')).toMatchObject({
      points: [
        { x: 2, y: 0 },
        { x: 4, y: expect.closeTo(-0.05, 9) },
        { x: 8, y: expect.closeTo(-0.1, 9) },
      ],
      trend: [
        [2, expect.closeTo(0, 9)],
        [8, expect.closeTo(-0.1, 9)],
      ],
    })
  })

  test('of published trends draws the line of the seeds that have all points, as the claim is decided', () => {
    const experts = [2, 4, 8]
    const arms = Object.fromEntries(
      experts.map((n, i): [string, ArmSketch] => [
        `N ${n}`,
        {
          effect: [0, -0.1, -0.3][i] ?? 0,
          settings: moe({ experts: n }),
          ...(i === 2 && { failed: [4] }),
        },
      ]),
    )
    const claim = { kind: 'trend', statement: 'Loss falls', expect: 'falls', over: 'model.moe.experts' }
    const { blocks } = view({
      view: 'witness',
      arms,
      contrasts: [],
      claims: [claimSchema.parse({ ...claim, arms: Object.keys(arms) })],
    })
    expect(text(cell(tableWith(blocks, 'Published'), 0, 'Here'))).toMatch(/^−0\.150/)
    const [start, end] = (figure(blocks, 'witness-trend-1') as ScatterFigure | undefined)?.trend ?? []
    // Two doublings at −0.15 each. The first two points alone have a slope of −0.1.
    expect((end?.[1] ?? 0) - (start?.[1] ?? 0)).toBeCloseTo(-0.3, 9)
  })
})

test('learning rates have one row per arm, and a best rate at an end of the rates tried is pointed out', () => {
  const trials = [0.1, 0.2, 0.4].map((learningRate, i) => ({ learningRate, loss: 3 + i / 10 }))
  const sectionOf = (best: number) =>
    analyse(
      studyOf({ arms: { base: {}, arm: {} }, tuning: [{ arm: 'base', budgetSteps: 50, trials, best }] }),
    ).sections.find(({ id }) => id === 'tuning')
  expect(sectionOf(0.2)?.verdicts[0]).toMatch(/lies within the rates that were tried/)
  expect(sectionOf(0.1)?.verdicts[0]).toMatch(/For 1 arm of 1 the best rate is the lowest or the highest/)
  expect(sectionOf(0.1)?.blocks[0]).toMatchObject({
    columns: [{}, { title: '0.1' }, { title: '0.2' }, { title: '0.4' }],
    rows: [['base', { text: '3.000 *', note: 'best' }, '3.100', '3.200']],
  })
  expect(analyse(studyOf({ arms: { base: {} } })).sections.map(({ id }) => id)).not.toContain('tuning')
})

test('the section of learning rates has the number of best rates that whole runs confirmed, and the others', () => {
  const verdicts = (...confirmed: readonly (boolean | null | undefined)[]) =>
    analyse(
      studyOf({
        arms: { base: {}, arm: {} },
        tuning: confirmed.map((state, i) => ({
          arm: `arm ${i}`,
          budgetSteps: 50,
          trials: [],
          best: 0.1,
          ...(state !== undefined && { confirmed: state }),
        })),
      }),
    )
      .sections.find(({ id }) => id === 'tuning')
      ?.verdicts.slice(1)
  expect(verdicts(undefined, undefined)).toEqual([])
  expect(verdicts(true, undefined)).toEqual([
    'The trials of 1 arm preferred another rate than the configured one. Whole runs with seeds of their own confirmed it for 1.',
  ])
  expect(verdicts(true, false, null, false)).toEqual([
    'The trials of 4 arms preferred another rate than the configured one. Whole runs with seeds of their own confirmed it for 1.',
    'Compared at the configured rate, because whole runs were not better at the other one: arm 1; arm 3.',
    'Compared at the configured rate, until whole runs confirm the other one: arm 2.',
  ])
})

test('the causal arm with the lowest loss is named', () => {
  const arms = { base: {}, seer: { effect: -0.5, leak: { train: 0.5, eval: null } }, arm: { effect: -0.25 } }
  // The builder’s level with seed 0 is 3.
  expect(analyse(studyOf({ arms, seeds: [0] })).sections.find(({ id }) => id === 'arms')?.verdicts).toEqual([
    'The causal arm with the lowest held-out loss is arm: 2.750 nats a token.',
  ])
})

test('the table of all arms has their losses at each capacity', () => {
  const section = analyse(
    studyOf({ arms: { base: { at: { eval: -0.1, none: -0.2 } }, arm: {} }, seeds: [0], capacity: 'none' }),
  ).sections.find(({ id }) => id === 'arms')
  const [table] = section?.blocks ?? []
  if (table?.kind !== 'table') throw new Error('no table of arms')
  // The builder’s level with seed 0 is 3, the loss without an effect.
  expect(['Loss', 'Train', 'Eval', 'None'].map((title) => text(cell(table, 0, title)))).toEqual([
    '2.800',
    '3.000',
    '2.900',
    '2.800',
  ])
})

describe('the section of specialisation', () => {
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
    // (0.91 − 0.1) / 2 against (0.51 − 0.1) / 2, in percent.
    expect(section?.blocks[1]).toMatchObject({
      rows: [
        [
          { text: '2 top-1', note: 'against top-2' },
          'sotu',
          'token',
          '40.5',
          '20.5',
          { text: '+20.0', note: '20.0 to 20.0' },
        ],
      ],
    })
    // The mean of both arms.
    expect(section?.verdicts).toEqual([
      'Share of the entropy of the expert that is explained above chance, mean over arms: by the token 30.5 %.',
    ])
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
