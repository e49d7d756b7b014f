/** Intervals of reports that are made while seeds are missing, and of studies that ask for such intervals. */
import { describe, expect, test } from 'vitest'
import type { Cell } from '../../report/blocks.ts'
import { claimSchema } from '../claim.ts'
import { detectable } from '../power.ts'
import { type ArmSketch, studyOf } from '../testing/results.ts'
import { analyse } from './analyse.ts'
import { answersOf } from './claims/answers.ts'
import { intervalOf } from './claims/decision.ts'
import { compareAll } from './comparison.ts'
import { Runs } from './runs.ts'

const claims = [
  claimSchema.parse({ kind: 'difference', statement: 'B is better', expect: 'better', contrasts: [['base', 'b']] }),
]
const reportOf = (arms: Readonly<Record<string, ArmSketch>>, intervals?: 'anytime') => {
  const report = analyse({ ...studyOf({ arms, claims }), ...(intervals && { intervals }) })
  const [summary, question] = report.sections
  const table = question?.blocks.find((block) => block.kind === 'table' && block.columns[1]?.title === 'Difference')
  if (table?.kind !== 'table') throw new Error('no table of contrasts')
  return { report, lead: summary?.lead, table, verdict: question?.verdicts[0] ?? '' }
}
const noteOf = (cell: Cell | undefined) => (typeof cell === 'object' && 'note' in cell ? cell.note : undefined)
const textOf = (cell: Cell | undefined) => (typeof cell === 'object' && 'text' in cell ? cell.text : cell)

const base = {}
// Differences of −0.1 ± 0.01, −0.1 ∓ 0.01, −0.1 ± 0.02, ...: Student's interval excludes zero with three seeds.
const b = { effect: -0.1, jitter: 0.01 }

describe('while runs of an arm are missing', () => {
  const { report, lead, table, verdict } = reportOf({
    base,
    b: { ...b, missing: [4] },
    c: { effect: 0.1, jitter: 0.01 },
  })

  test('its intervals are those that hold at every look, and named so', () => {
    // The seeds 0 to 3 have jitters 0.01, −0.01, 0.02 and −0.02: a standard deviation of 0.01826.
    const error = Math.sqrt((2 * 0.01 ** 2 + 2 * 0.02 ** 2) / 3) / 2
    const half = 6.538 * error
    expect(verdict).toContain(
      `anytime 95 % interval −${(0.1 + half).toFixed(3)} to −${(0.1 - half).toFixed(3)}, 4 seeds`,
    )
    expect(noteOf(table.rows[0]?.[1])).toMatch(/^anytime −0\.1\d+ to −0\.0\d+$/)
    expect(table.caption).toContain('Anytime: this 95 % interval holds however often one looks')
    expect(textOf(lead?.rows[0]?.[4])).toMatch(/^anytime −/)
    expect(lead?.caption).toContain('Anytime: ')
    expect(report.facts.join('\n')).toContain('anytime-valid where arms with missing runs are compared (1 of 3 arms)')
    const visible = Number(textOf(lead?.rows[0]?.[5]))
    expect(visible).toBeCloseTo(detectable(error, 3, 'anytime'), 3)
    expect(visible).toBeGreaterThan(detectable(error, 3))
  })

  test('comparisons of other arms, whose seeds are all there, have Student’s', () => {
    expect(noteOf(table.rows[1]?.[1])).toMatch(/^0\.0\d+ to 0\.1\d+$/)
  })

  test('a claim may be undecided that Student’s interval would decide', () => {
    const noisy = { effect: -0.05, jitter: 0.01 }
    expect(reportOf({ base, b: { ...noisy, missing: [4] } }).verdict).toMatch(/is undecided here/)
    expect(reportOf({ base, b: { ...noisy, failed: [4] } }).verdict).toMatch(/holds here/)
  })

  test('two seeds have no interval', () => {
    const early = reportOf({ base, b: { ...b, missing: [2, 3, 4] } })
    expect(noteOf(early.table.rows[0]?.[1])).toBe('only 2 seeds')
    expect(early.verdict).toMatch(/is undecided here: −0\.\d+ nats a token \(no interval, 2 seeds\)/)
  })
})

describe('after a sweep, while runs at the best rate of an arm are missing', () => {
  const tuning = [{ arm: 'b', budgetSteps: 10, trials: [], best: 0.1, confirmed: true }]
  const results = studyOf({ arms: { base, b: { ...b, best: -0.01 } }, claims, tuning })
  /** The study without some of the runs of b. */
  const without = (rate: 'common' | 'best', seeds: readonly number[]) => ({
    ...results,
    cells: results.cells.map((cell) =>
      cell.arm === 'b' && cell.rate === rate && seeds.includes(cell.seed) ? { ...cell, record: null } : cell,
    ),
  })
  const all = [0, 1, 2, 3, 4]

  test.each([
    ['all of them', all, -0.1],
    ['one of them', [4], -0.11],
  ])('its intervals hold at every look: %s', (_, seeds, mean) => {
    const runs = new Runs(without('best', seeds))
    const [answer] = answersOf(runs)
    expect(answer?.deciding?.effect).toMatchObject({ mean: expect.closeTo(mean, 9), intervals: 'anytime' })
    expect(runs.intervalsFor(['base'])).toBe('student')
    expect(JSON.stringify(analyse(without('best', seeds)))).toContain('anytime 95 % interval')
  })

  test('its intervals hold at every look too before whole runs have confirmed its best rate', () => {
    const read = (confirmed: boolean | null) =>
      new Runs(studyOf({ arms: { base, b }, claims, tuning: tuning.map((of) => ({ ...of, confirmed })) }))
    expect(read(null).intervalsFor(['b'])).toBe('anytime')
    expect(read(null).intervalsFor(['base'])).toBe('student')
    expect(read(null).withBasis({ rate: 'common' }).intervalsFor(['b'])).toBe('student')
    expect(read(false).intervalsFor(['b'])).toBe('student')
  })

  test('those of the common rate are final, and those of the best rate do not wait for runs at the common one', () => {
    const common = new Runs(without('best', all)).withBasis({ rate: 'common' })
    expect(common.intervalsFor(['b'])).toBe('student')
    expect(new Runs(without('common', [4])).intervalsFor(['b'])).toBe('student')
    expect(new Runs(without('common', [4])).withBasis({ rate: 'common' }).intervalsFor(['b'])).toBe('anytime')
  })
})

test('a ratio of FLOPs has the intervals of its comparison', () => {
  const results = studyOf({ arms: { base, b: { ...b, missing: [4] }, c: b } })
  const cells = results.cells.map((cell) =>
    cell.record?.status === 'finished' && cell.arm !== 'base'
      ? { ...cell, record: { ...cell.record, trainFlops: 6e13 * (1 + cell.seed / 100) } }
      : cell,
  )
  const [contrastOfB, contrastOfC] = compareAll(
    new Runs({ ...results, cells }),
    ['b', 'c'].map((arm) => ({ baseline: 'base', arm })),
  )
  expect(contrastOfB?.flops).toMatchObject({ n: 4, intervals: 'anytime' })
  expect(contrastOfC?.flops).not.toHaveProperty('intervals')
})

test('a claim about seconds with two seeds has no interval, as the same claim about steps has none', () => {
  const timing = (arm: string, ...turnsMs: number[]) => ({ arm, stepMs: 100, turnsMs, engine: '' })
  const timings = [timing('base', 100, 100, 100, 100), timing('b', 97, 100, 104, 99)]
  const measured = (['steps', 'seconds'] as const).map((measure) => {
    const speed = [claimSchema.parse({ kind: 'speed', measure, statement: 'B is faster', expect: 'better' })]
    const effect = { effect: -0.2, jitter: 0.01, missing: [2, 3, 4] }
    const [answer] = answersOf(new Runs(studyOf({ arms: { base, b: effect }, claims: speed, timings })))
    const found = answer?.deciding?.effect
    return { n: found?.n, interval: found && intervalOf(found), answer: answer?.answer }
  })
  expect(measured).toEqual([0, 1].map(() => ({ n: 2, interval: null, answer: 'undecided' })))
})

test('a complete study has Student’s intervals without a label, unless it asks for the others', () => {
  const complete = reportOf({ base, b })
  expect(JSON.stringify(complete.report)).not.toMatch(/anytime/i)
  const asked = reportOf({ base, b }, 'anytime')
  expect(asked.verdict).toContain('anytime 95 % interval')
  expect(asked.report.facts.join('\n')).toContain('anytime-valid as the study asks')
})

test('a run that failed is not missing: the seeds that are left are all that will come', () => {
  expect(JSON.stringify(reportOf({ base, b: { ...b, failed: [4] } }).report)).not.toMatch(/anytime/i)
})
