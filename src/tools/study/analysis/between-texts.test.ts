/** Reports of studies whose arms differ from document to document by known amounts. */
import { describe, expect, test } from 'vitest'
import type { Cell, Table } from '../../report/blocks.ts'
import type { Report } from '../../report/report.ts'
import { claimSchema } from '../claim.ts'
import { type ArmSketch, type StudySketch, studyOf } from '../testing/results.ts'
import { analyse } from './analyse.ts'
import { betweenTexts } from './between-texts.ts'
import { answersOf } from './claims/answers.ts'
import { Runs } from './runs.ts'

const contrast = { baseline: 'base', arm: 'arm' }
const textsOf = (sketch: StudySketch) => {
  const runs = new Runs(studyOf(sketch))
  return betweenTexts(runs, runs.pairs(contrast))
}
/** Differences of documents with mean 0: half of them on each side. */
const apart = (n: number, by: number) => Array.from({ length: n }, (_, i) => (i % 2 === 0 ? by : -by))
const flat = (n: number) => apart(n, 0)

const tablesOf = (report: Report): Table[] =>
  report.sections.flatMap(({ blocks }) => blocks.flatMap((block) => (block.kind === 'table' ? [block] : [])))
const columnOf = (report: Report, title: string): Cell[] | undefined => {
  const found = tablesOf(report).find(({ columns }) => columns.some((column) => column.title === title))
  return found?.rows.map((row) => row[found.columns.findIndex((column) => column.title === title)] ?? '')
}
const reportOf = (arm: ArmSketch, base: ArmSketch = { documents: flat(16) }) =>
  analyse(studyOf({ arms: { base, arm } }))

describe('the interval between texts', () => {
  test('extends to both sides by 1.96 to 2.13 standard errors of the mean over equal documents', () => {
    const found = textsOf({
      arms: { base: { documents: flat(16) }, arm: { effect: -0.02, jitter: 0.003, documents: apart(16, 0.01) } },
    })
    // s = 0.01 · √(16 / 15), over √16; t(15) = 2.131.
    const half = (2.131 * 0.01 * Math.sqrt(16 / 15)) / 4
    expect(found?.documents).toBe(16)
    const [low = 0, high = 0] = found?.interval ?? []
    for (const reached of [-0.02 - low, high + 0.02].map((distance) => distance / half)) {
      expect(reached).toBeGreaterThan(0.85)
      expect(reached).toBeLessThan(1.1)
    }
  })

  test('over both is never narrower than over seeds alone, even with two seeds', () => {
    const both = textsOf({
      seeds: [1, 2],
      arms: { base: { documents: flat(16) }, arm: { effect: -0.02, jitter: 0.004, documents: apart(16, 0.01) } },
    })?.both
    // The seeds differ by 0.004 · √2 in the sketch's deviation, and t(1) is 12.706.
    expect((both?.[1] ?? 0) - (both?.[0] ?? 0)).toBeGreaterThan(2 * 12.7 * 0.002)
  })

  test('has the variance of documents alone; the interval over both adds the variance of seeds', () => {
    const documents = apart(16, 0.01)
    const arms = (jitter: number) => ({ base: { documents: flat(16) }, arm: { effect: -0.02, jitter, documents } })
    const [still, moving] = [textsOf({ arms: arms(0) }), textsOf({ arms: arms(0.004) })]
    for (const [i, end] of (moving?.interval ?? []).entries()) expect(end).toBeCloseTo(still?.interval?.[i] ?? 0, 9)
    // Standard errors: over seeds 0.004 · √2.5 / √5 (4 degrees of freedom), over texts 0.01 · √(16 / 15) / 4 (15).
    const [a, b] = [0.004 / Math.sqrt(2), (0.01 * Math.sqrt(16 / 15)) / 4]
    const freedom = (a ** 2 + b ** 2) ** 2 / (a ** 4 / 4 + b ** 4 / 15)
    expect(freedom).toBeGreaterThan(11)
    expect(freedom).toBeLessThan(12)
    const width = ((moving?.both?.[1] ?? 0) - (moving?.both?.[0] ?? 0)) / 2 / Math.hypot(a, b)
    // Student's t: 2.201 with 11 degrees of freedom, 2.179 with 12; the error of the draws is 2 %.
    expect(width).toBeGreaterThan(2.1)
    expect(width).toBeLessThan(2.28)
  })

  test('pairs documents: a document that is harder for both arms adds no variation to their difference', () => {
    const hard = apart(16, 0.5)
    const found = textsOf({ arms: { base: { documents: hard }, arm: { effect: -0.02, documents: hard } } })
    for (const end of found?.interval ?? [0, 0]) expect(end).toBeCloseTo(-0.02, 9)
  })

  test('is measured at the capacity of the study', () => {
    const arm = { effect: -0.02, at: { none: 0.04 }, documents: apart(16, 0.001) }
    const at = (capacity: 'train' | 'none') => textsOf({ arms: { base: { documents: flat(16) }, arm }, capacity })
    expect(at('train')?.interval?.[1]).toBeLessThan(0)
    expect(at('none')?.interval?.[0]).toBeGreaterThan(0)
  })

  test('is measured without a capacity limit for a pair with a router that balances loads in training only', () => {
    const settings = { 'model.moe.router': 'sinkhorn', 'model.moe.capacity': 'kx' }
    const base = { documents: flat(16), at: { none: -0.05 } }
    const arm = { settings, effect: 0.5, at: { none: -0.6 }, documents: apart(16, 0.001) }
    const [low = 0, high = 0] = textsOf({ arms: { base, arm } })?.interval ?? []
    // Without a limit the effects are −0.1 and −0.05; at the capacity of training they are 0.5 and 0.
    expect(low).toBeCloseTo(-0.05, 2)
    expect(high).toBeCloseTo(-0.05, 2)
  })

  test('exists with one seed, but then there is no interval over both seeds and documents', () => {
    const arms = { base: { documents: flat(16) }, arm: { documents: apart(16, 0.01) } }
    const found = textsOf({ arms, seeds: [1] })
    expect(found?.interval).not.toBeNull()
    expect(found?.both).toBeNull()
  })

  test('is missing for records without documents, and for documents of different texts', () => {
    const documents = flat(16)
    expect(textsOf({ arms: { base: {}, arm: {} } })).toBeNull()
    expect(textsOf({ arms: { base: {}, arm: { documents } } })).toBeNull()
    expect(textsOf({ arms: { base: { documents: flat(17) }, arm: { documents } } })).toBeNull()
  })
})

describe('a report', () => {
  test('has the interval between texts beside the interval over seeds, and a mark if it contains zero', () => {
    const sure = reportOf({ effect: -0.02, jitter: 0.003, documents: apart(16, 0.01) })
    expect(columnOf(sure, 'Between texts')).toMatchObject([
      { text: expect.stringMatching(/^−0\.02\d+ to −0\.01\d+$/), note: expect.stringMatching(/^with seeds −0\.0/) },
    ])
    expect(columnOf(sure, 'Difference')).toEqual([expect.objectContaining({ text: '−0.0200' })])
    expect(JSON.stringify(sure)).not.toContain('‖')
    const unsure = reportOf({ effect: -0.02, jitter: 0.003, documents: apart(16, 0.1) })
    expect(columnOf(unsure, 'Difference')).toEqual([expect.objectContaining({ text: '−0.0200 ‖' })])
    expect(JSON.stringify(unsure)).toContain('‖ The interval between texts contains zero')
  })

  test('shows that there are too few documents', () => {
    const few = reportOf({ effect: -0.02, jitter: 0.003, documents: flat(7) }, { documents: flat(7) })
    expect(columnOf(few, 'Between texts')).toEqual([{ text: 'too few', note: '7 documents' }])
  })

  test('of records without documents has no column for the interval between texts', () => {
    expect(columnOf(reportOf({ effect: -0.02 }, {}), 'Between texts')).toBeUndefined()
  })
})

describe('an answer', () => {
  const arms = (by: number) => ({
    base: { documents: flat(16) },
    arm: { effect: -0.02, jitter: 0.003, documents: apart(16, by) },
  })
  const claimed = (by: number, input: Readonly<Record<string, unknown>>) => {
    const claims = [claimSchema.parse({ statement: 'It is so', kind: 'difference', ...input })]
    const results = studyOf({ arms: arms(by), claims })
    const [answer] = answersOf(new Runs(results))
    return { answer: answer?.answer, dependsOnText: answer?.dependsOnText, report: JSON.stringify(analyse(results)) }
  }

  test('is decided over seeds, and marked if documents leave it open', () => {
    expect(claimed(0.01, { expect: 'better' })).toMatchObject({ answer: 'holds', dependsOnText: false })
    const open = claimed(0.1, { expect: 'better' })
    expect(open).toMatchObject({ answer: 'holds', dependsOnText: true })
    expect(open.report).toContain('holds ‖')
    expect(open.report).toContain('other documents may give another answer to')
    expect(claimed(0.1, { expect: 'worse' })).toMatchObject({ answer: 'does not hold', dependsOnText: true })
  })

  test('that there is no difference is marked if the interval between texts reaches beyond the margin', () => {
    expect(claimed(0.01, { expect: 'equal', margin: 0.03 })).toMatchObject({ answer: 'holds', dependsOnText: false })
    expect(claimed(0.1, { expect: 'equal', margin: 0.03 })).toMatchObject({ answer: 'holds', dependsOnText: true })
  })

  test('that is undecided is not marked', () => {
    expect(claimed(0.1, { expect: 'better', margin: 0.02 })).toMatchObject({
      answer: 'undecided',
      dependsOnText: false,
    })
  })
})

describe('the section of domains', () => {
  const sketch = {
    base: { domains: { kernel: 0, rust: 0.5 } },
    arm: { effect: -0.02, jitter: 0.003, domains: { kernel: 0.05, rust: 0.45 } },
    other: { effect: -0.01, jitter: 0.001, domains: { kernel: 0, rust: 0.5 } },
  }
  const section = (arms: StudySketch['arms'], capacity: 'train' | 'none' = 'train') =>
    analyse(studyOf({ arms, capacity })).sections.find(({ id }) => id === 'domains')

  test('has the difference of each arm in each domain with its interval over seeds', () => {
    const found = section(sketch)
    const table = found?.blocks[1]
    if (table?.kind !== 'table') throw new Error('no table')
    expect(table.columns.map(({ title }) => title)).toEqual(['Arm', 'All', 'kernel', 'rust'])
    const texts = table.rows.map((row) => row.slice(1).map((cell) => (cell as { text: string }).text))
    expect(texts).toEqual([
      // −0.02 on the whole; 0.05 worse in kernel, 0.05 better in rust.
      ['−0.0200', '+0.0300', '−0.0700'],
      ['−0.0100', '−0.0100', '−0.0100'],
    ])
    expect(found?.verdicts).toEqual([
      "Of 2 contrasts whose interval excludes zero on the whole text, 1 does so with the same sign in every domain; the opposite sign is found in arm against base (on kernel), before Holm's correction.",
    ])
  })

  test('reads losses at the capacity of the study', () => {
    const arm = { ...sketch.arm, at: { none: 0.5 } }
    const table = section({ ...sketch, arm }, 'none')?.blocks[1]
    if (table?.kind !== 'table') throw new Error('no table')
    expect(table.rows[0]?.[2]).toMatchObject({ text: '+0.5300' })
  })

  test('reads both arms of a pair at the capacity at which they are compared', () => {
    const settings = { 'model.moe.router': 'sinkhorn', 'model.moe.capacity': 'kx' }
    const domains = { kernel: 0, rust: 0 }
    const table = section({
      base: { domains, at: { none: -0.05 } },
      arm: { settings, effect: 0.5, at: { none: -0.6 }, domains },
    })?.blocks[1]
    if (table?.kind !== 'table') throw new Error('no table')
    const texts = table.rows.map((row) => row.slice(1).map((cell) => (cell as { text: string }).text))
    expect(texts).toEqual([['−0.050', '−0.050', '−0.050']])
  })

  test('is missing without domains', () => {
    expect(section({ base: {}, arm: {} })).toBeUndefined()
    expect(section({ base: { domains: { kernel: 0 } }, arm: { domains: { kernel: 0 } } })).toBeUndefined()
  })
})
