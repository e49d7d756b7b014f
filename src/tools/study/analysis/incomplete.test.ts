/**
 * Users report on studies that still run, or in which something failed, so every incomplete study must give a report.
 *
 * @slow
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { CapacityRule } from '../../../core/model/routing/contract.ts'
import { type Claim, claimSchema } from '../claim.ts'
import type { FinishedRun, Prediction, Protocol, RunRecord, StudyResults } from '../contract.ts'
import { checksumOf } from '../results/checksum.ts'
import { predictionSchema, views } from '../specification.ts'
import { type ArmSketch, studyOf } from '../testing/results.ts'
import { analyse } from './analyse.ts'

const moe = (settings: Readonly<Record<string, unknown>>) =>
  Object.fromEntries(Object.entries(settings).map(([name, value]) => [`model.moe.${name}`, value]))

const arms: Readonly<Record<string, ArmSketch>> = {
  'top-1': { settings: moe({ k: 1 }), elsewhere: { moby: 0 }, best: -0.01 },
  'top-2': { settings: moe({ k: 2 }), effect: -0.02, jitter: 0.01, cv: 0.7, elsewhere: { moby: 0.01 } },
  'top-2 1x': { settings: moe({ k: 2, capacity: '1x' }), jitter: 0.02, cv: 0.2, parameters: 1e7 },
  '2 top-1': { settings: moe({ router: 'prototype', prototypes: 2, capacity: '1x' }), effect: -0.03, jitter: 0.003 },
  dropless: {
    settings: moe({ capacity: 'none' }),
    leak: { train: 0.1, eval: null },
    effect: 0.01,
    jitter: 0.001,
    dropRate: 0,
  },
  dense: { settings: { 'model.moe': null }, effect: 0.2, jitter: 0.01 },
}
const names = Object.keys(arms)

/** Damaged copies of a finished run. */
const damages: readonly ((run: FinishedRun) => RunRecord | null)[] = [
  (run) => run,
  () => null,
  ({ key, seed, config }) => ({ status: 'failed', key, seed, config, error: 'loss is not finite' }),
  (run) => ({ ...run, heldOut: { ...run.heldOut, loss: Number.NaN } }),
  (run) => ({
    ...run,
    heldOut: {
      ...run.heldOut,
      capacities: {
        ...run.heldOut.capacities,
        eval: { loss: Number.NaN, bits_per_byte: Number.NaN, drop_rate: Number.NaN, unserved_rate: Number.NaN },
      },
    },
  }),
  (run) => ({ ...run, heldOut: { ...run.heldOut, bits_per_byte: Number.NaN }, trainFlops: 0, tokens: 0 }),
  (run) => ({ ...run, evaluations: [], train: { step: [], loss: [] }, layers: [], elsewhere: {} }),
  (run) => ({ ...run, evaluations: run.evaluations.map((one) => ({ ...one, loss: Number.NaN })), seconds: 0 }),
  (run) => ({ ...run, routing: { loadCv: Number.NaN, loadCvKept: Number.NaN, dropRate: Number.NaN, deadExperts: 0 } }),
  (run) => ({ ...run, layers: run.layers.map((layer) => ({ ...layer, load: [], step: [], loadCv: [] })) }),
  (run) => ({ ...run, parameters: 0, corpus: 'another' }),
]

/** Claims of every kind, over contrasts of the question or over arms. */
const claims: readonly Claim[] = [
  { kind: 'difference', expect: 'better', of: 'most' },
  { kind: 'difference', expect: 'equal', margin: 0.01, controls: [{ name: 'again', contrast: ['top-1', 'top-2'] }] },
  { kind: 'speed', expect: 'better', measure: 'seconds' },
  { kind: 'speed', expect: 'worse', measure: 'flops' },
  { kind: 'trend', expect: 'falls', arms: ['top-1', 'top-2', 'top-2 1x'] },
  { kind: 'trend', expect: 'flat', margin: 0.1, over: 'model.moe.experts' },
  { kind: 'returns', expect: 'diminish', over: 'activeParameters' },
  { kind: 'correlation', expect: 'rises' },
].map((one) => claimSchema.parse({ statement: 'It is so', ...one }))

/** Predictions of every form; the second is registered late, the third not at all, and another was withdrawn. */
const prediction = (fields: object): Prediction => ({
  ...predictionSchema.parse({ question: 'plain', ...fields }),
  contrasts: names.slice(1).map((arm) => ['top-1', arm] as const),
})
const first = prediction({ expect: 'better' })
const second = prediction({ from: -0.05, to: 0.01, of: 'most' })
const third = prediction({ expect: 'equal', margin: 0.02 })
const withdrawn = prediction({ expect: 'worse' })
const protocolOf = (...predictions: Prediction[]): Protocol => ({
  predictions,
  seeds: [0],
  capacity: 'train',
  arms: Object.fromEntries(names.map((name) => [name, 'hash'])),
})
const registered: StudyResults['registered'] = {
  protocol: protocolOf(first, second, third),
  registrations: [protocolOf(first, withdrawn), protocolOf(first, second)].map((protocol, i) => ({
    protocol,
    sha256: checksumOf(protocol),
    at: '2026-11-29T12:00:00.000Z',
    ended: 3 * i,
  })),
}

const studies = fc
  .record({
    seeds: fc.constantFrom([], [0], [0, 1], [0, 1, 2, 3, 4]),
    damage: fc.array(fc.nat(damages.length - 1), { minLength: names.length * 5, maxLength: names.length * 5 }),
    timed: fc.subarray(names),
    claims: fc.subarray([...claims]),
    capacity: fc.constantFrom<CapacityRule>('train', 'eval', 'none'),
    tuned: fc.subarray(names),
    contrasts: fc.array(fc.record({ baseline: fc.constantFrom(...names), arm: fc.constantFrom(...names) }), {
      maxLength: 7,
    }),
  })
  .map(({ seeds, damage, timed, contrasts, claims, capacity, tuned }): StudyResults => {
    const results = studyOf({
      arms,
      seeds,
      questions: views.map((view) => ({ id: view, title: view, about: '', view, contrasts, claims })),
      capacity,
      tuning: tuned.map((arm) => ({
        arm,
        budgetSteps: 10,
        trials: [
          { learningRate: 0.1, loss: Number.NaN },
          { learningRate: 0.2, loss: 3 },
        ],
        best: 0.2,
      })),
      timings: timed.map((arm, i) => ({ arm, stepMs: 100 + i, turnsMs: i % 2 ? [100 + i] : [], engine: '' })),
    })
    const cells = results.cells.map((cell, i) =>
      cell.record?.status === 'finished' ? { ...cell, record: damages[damage[i] ?? 0]?.(cell.record) ?? null } : cell,
    )
    return { ...results, cells, registered }
  })

/** Calls `see` with everything that a renderer would print or draw. */
function visit(value: unknown, path: string, see: (leaf: unknown, path: string) => void): void {
  if (typeof value === 'object' && value !== null)
    for (const [name, inner] of Object.entries(value)) visit(inner, `${path}.${name}`, see)
  else see(value, path)
}

test('a report has no NaN, no infinity and no gap in a sentence, whichever runs are missing or damaged', () => {
  fc.assert(
    fc.property(studies, (results) => {
      visit(analyse(results), 'report', (leaf, path) => {
        if (typeof leaf === 'number') expect(Number.isFinite(leaf), path).toBe(true)
        else if (typeof leaf === 'string') expect(leaf, path).not.toMatch(/NaN|Infinity|undefined|null|\[object/)
      })
    }),
    { numRuns: 100 },
  )
})

test('every question has an answer, and every figure a unique name and something to show', () => {
  fc.assert(
    fc.property(studies, (results) => {
      const report = analyse(results)
      const figures = report.sections.flatMap(({ blocks }) => blocks.filter((block) => block.kind === 'figure'))
      for (const section of report.sections) expect(section.verdicts[0], section.id).toMatch(/\.$/)
      expect(new Set(figures.map(({ id }) => id)).size).toBe(figures.length)
      for (const figure of figures) {
        expect(figure.id).toMatch(/^[a-z0-9-]+$/)
        const shown = { lines: 'series', scatter: 'points', intervals: 'rows', heat: 'panels', bars: 'rows' } as const
        expect(Object.entries(figure).find(([name]) => name === shown[figure.form])?.[1]).not.toHaveLength(0)
      }
    }),
    { numRuns: 50 },
  )
})

test('a logarithmic axis has only positive numbers', () => {
  fc.assert(
    fc.property(studies, (results) => {
      for (const { blocks } of analyse(results).sections)
        for (const block of blocks)
          if (block.kind === 'figure' && block.form === 'scatter' && block.x.scale === 'log')
            for (const { x } of block.points) expect(x).toBeGreaterThan(0)
    }),
    { numRuns: 50 },
  )
})

test('the summary has one row per claim, one for a question without claims, and at most five sentences', () => {
  fc.assert(
    fc.property(studies, (results) => {
      const [first] = analyse(results).sections
      const rows = results.questions.map(({ claims }) => claims?.length || 1)
      expect(first?.lead?.rows).toHaveLength(rows.reduce((sum, n) => sum + n, 0))
      expect(first?.verdicts.length).toBeLessThanOrEqual(5)
    }),
    { numRuns: 50 },
  )
})

test('every row of a table has one cell per column', () => {
  fc.assert(
    fc.property(studies, (results) => {
      for (const { blocks, lead } of analyse(results).sections)
        for (const block of lead ? [lead, ...blocks] : blocks)
          if (block.kind === 'table') for (const row of block.rows) expect(row).toHaveLength(block.columns.length)
    }),
    { numRuns: 50 },
  )
})
