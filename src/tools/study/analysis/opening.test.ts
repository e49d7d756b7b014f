/** The summary of a report: its table, and the sentences below it. */
import { describe, expect, test } from 'vitest'
import type { Cell, IntervalCell } from '../../report/blocks.ts'
import { claimSchema } from '../claim.ts'
import type { Question } from '../contract.ts'
import { detectableEffect } from '../power.ts'
import { type StudySketch, studyOf } from '../testing/results.ts'
import { analyse } from './analyse.ts'

const text = (cell: Cell | undefined): string =>
  typeof cell === 'string' ? cell : cell && 'text' in cell ? cell.text : 'drawn'
const summary = (sketch: StudySketch) => {
  const { sections, headline } = analyse(studyOf(sketch))
  const [first] = sections
  if (first?.lead === undefined) throw new Error('no opening table')
  const { rows } = first.lead
  return { rows, cells: rows.map((row) => row.map(text)), sentences: first.verdicts, headline }
}
const question = (arm: string, expect_: string, more: object = {}): Question => ({
  id: arm,
  title: `Is ${arm} ${expect_}?`,
  about: '',
  view: 'plain',
  contrasts: [{ baseline: 'base', arm }],
  claims: [
    claimSchema.parse({
      kind: 'difference',
      statement: `${arm} is ${expect_}`,
      source: 'arXiv 0000.00000',
      expect: expect_,
      ...more,
    }),
  ],
})

describe('the opening table', () => {
  const arms = {
    base: {},
    large: { effect: -0.2, jitter: 0.01 },
    sure: { effect: 0.05, jitter: 0.001 },
    open: { effect: 0.001, jitter: 0.01 },
  }
  const questions = [question('open', 'better'), question('large', 'better'), question('sure', 'better')]
  const { rows, cells, sentences } = summary({ arms, questions })

  test('has the strongest finding first, by its effect over its error, and undecided claims last', () => {
    expect(cells.map(([name, answer]) => [name, answer])).toEqual([
      ['Is sure better?', 'does not hold'],
      ['Is large better?', 'holds'],
      ['Is open better?', 'undecided'],
    ])
  })

  test('has the effect, its interval and the effect with 80 % power, in numbers and drawn on one axis', () => {
    // Half of the interval: 2.7764 · 0.01 · √2.5 / √5 = 0.0196. Five seeds detect 1.68 deviations (docs/study.md), 0.01 · √2.5.
    expect(cells[1]?.slice(3)).toEqual(['−0.2000', '−0.2196 to −0.1804', '0.0266'])
    const drawn = rows.map((row) => row[2] as IntervalCell)
    expect(drawn[1]).toMatchObject({
      mean: expect.closeTo(-0.2, 9),
      low: expect.closeTo(-0.2 - 0.01963, 4),
      high: expect.closeTo(-0.2 + 0.01963, 4),
    })
    expect(new Set(drawn.map(({ reach }) => reach)).size).toBe(1)
    // The axis is broken before −0.2: the others reach 0.05 with half an interval of 0.00196.
    expect(drawn[0]?.reach).toBeCloseTo(1.1 * 0.05196, 4)
  })

  test('is followed by sentences: the largest effect, refuted claims, and the basis of the answers', () => {
    expect(sentences).toEqual([
      'The largest effect: “large” has a held-out loss 0.200 nats a token lower (better) than “base” (95 % interval 0.180 to 0.220, 5 seeds).',
      'Against the literature, these do not hold: “Is sure better?”; no experiment has tried to refute this yet.',
      'Answers use the held-out loss (cross-entropy on text that is not trained on) at the capacity of training, so an arm is judged at its training cost; each arm has its configured learning rate.',
    ])
  })

  test('comes with no sentence that appears twice in the report', () => {
    const report = analyse(studyOf({ arms, questions }))
    const all = report.sections.flatMap(({ verdicts }) => verdicts)
    expect(new Set(all).size).toBe(all.length)
  })
})

describe('the order of findings without noise', () => {
  test('has an effect of exactly zero behind every other finding', () => {
    const { cells } = summary({
      arms: {
        base: {},
        weak: { effect: -0.1, jitter: 0.01 },
        none: {},
        sure: { effect: -0.1, jitter: 0.001 },
        exact: { effect: -0.1 },
      },
      questions: [
        question('weak', 'better'),
        question('none', 'equal', { margin: 0.01 }),
        question('sure', 'better'),
        question('exact', 'better'),
      ],
    })
    expect(cells.map(([name]) => name)).toEqual([
      'Is exact better?',
      'Is sure better?',
      'Is weak better?',
      'Is none equal?',
    ])
  })

  test('shows an effect of exactly zero rather than one that a single seed has, if no contrast differs', () => {
    const contrasts = ['one seed', 'none'].map((arm) => ({ baseline: 'base', arm }))
    const { rows } = summary({
      arms: {
        base: {},
        'one seed': { effect: 0.9, failed: [1, 2, 3, 4] },
        none: {},
        better: { effect: -0.2, jitter: 0.001 },
      },
      questions: [{ id: 'q', title: 'A question', about: '', view: 'plain', contrasts }, question('better', 'better')],
    })
    expect(rows[1]?.[0]).toMatchObject({ text: 'A question', note: 'none against base' })
  })
})

test('the colour of an interval is the side of zero, not the answer, and one large effect does not shrink the others', () => {
  const { rows } = summary({
    arms: {
      base: {},
      harm: { effect: 0.9, jitter: 0.01 },
      gain: { effect: -0.1, jitter: 0.001 },
      loss: { effect: 0.05, jitter: 0.002 },
      open: { effect: 0.001, jitter: 0.01 },
    },
    questions: [
      question('harm', 'worse'),
      question('gain', 'worse'),
      question('loss', 'better'),
      question('open', 'better'),
    ],
  })
  const drawn = rows.map((row) => [row[1], row[2]] as [{ text: string; tone: string }, IntervalCell])
  const found = drawn.map(([{ text, tone }, cell]) => [text, tone, cell.tone, cell.mean > cell.reach])
  expect(found.toSorted()).toEqual([
    ['does not hold', 'strong', 'better', false],
    ['does not hold', 'strong', 'worse', false],
    ['holds', 'strong', 'worse', true],
    ['undecided', 'open', 'open', false],
  ])
  // The largest of the others is 0.1, with half an interval of 0.00196.
  for (const [, { reach }] of drawn) expect(reach).toBeCloseTo(1.1 * 0.10196, 4)
})

describe('the headline', () => {
  const arms = {
    base: {},
    large: { effect: -0.2, jitter: 0.01 },
    sure: { effect: 0.05, jitter: 0.001 },
    open: { effect: 0.001, jitter: 0.01 },
  }
  const headline = (sketch: StudySketch) => analyse(studyOf(sketch)).headline

  test('is the first row of the table in words', () => {
    expect(headline({ arms, questions: [question('open', 'better'), question('sure', 'better')] })).toBe(
      'This study disagrees: “sure is better”. “sure” has a held-out loss 0.0500 nats a token higher (worse) than “base” (95 % interval 0.0480 to 0.0520, 5 seeds).',
    )
  })

  test('is not repeated in the report: a single question without a claim has its table in its own section only', () => {
    const { headline, sections } = analyse(studyOf({ arms }))
    expect(headline).toContain('“sure” has a held-out loss 0.0500 nats a token higher (worse) than “base”')
    const [summary] = sections
    expect(summary?.lead).toBeUndefined()
    // The headline is the clearest finding; the largest is another one.
    expect(summary?.verdicts[0]).toMatch(/^The largest effect: “large” has a held-out loss 0.200 nats a token lower /)
    expect(sections.flatMap(({ verdicts }) => verdicts).join(' ')).not.toContain('“sure” has a held-out loss')
    const titles = sections.map(({ title }) => title)
    expect(new Set(titles).size).toBe(titles.length)
  })

  test('counts the runs of a study that is not complete, and is missing without a finding', () => {
    const partial = { ...arms, large: { ...arms.large, missing: [4] } }
    expect(headline({ arms: partial })).toMatch(/^So far, with 19 of 20 runs: “sure” has /)
    expect(headline({ arms: { base: {}, open: arms.open } })).toBeUndefined()
  })
})

test('an arm that sees later tokens is marked, and is not the largest effect', () => {
  const leak = { train: 0.5, eval: null }
  const { cells, sentences, headline } = summary({
    arms: { base: {}, seer: { effect: -0.9, jitter: 0.001, leak }, arm: { effect: -0.1, jitter: 0.001 } },
    questions: [question('seer', 'better'), question('arm', 'better')],
  })
  expect(cells.map(([, answer]) => answer)).toEqual(['holds †', 'holds'])
  // The headline has the largest effect of the others, so no sentence repeats it.
  expect(headline).toContain('“arm” has a held-out loss 0.1000 nats a token lower (better) than “base”')
  expect(sentences.join(' ')).not.toContain('seer')
  expect(sentences.at(-1)).toMatch(/^1 arm \(†\) sees later tokens/)
})

test('a caution names a sign that depends on the evaluation capacity, but not a magnitude that does', () => {
  const warning = (none: number) =>
    summary({
      arms: { base: {}, arm: { effect: -0.1, jitter: 0.001, at: { none } } },
      questions: [question('arm', 'better')],
    }).sentences.find((sentence) => sentence.startsWith('Take care'))
  expect(warning(0.3)).toBe(
    'Take care: another evaluation capacity gives the opposite answer to “Is arm better?” (‡); which is better in arm against base depends on the evaluation capacity (‡).',
  )
  expect(warning(0.05)).toBeUndefined()
})

test('an answer that depends on the capacity or on the learning rate is marked in the table', () => {
  const tuning = [{ arm: 'turning', budgetSteps: 10, trials: [], best: 0.1 }]
  const { cells } = summary({
    arms: {
      base: {},
      turning: { effect: -0.1, jitter: 0.001, at: { none: 0.3 } },
      tuned: { effect: 0.1, jitter: 0.001, best: -0.2 },
      firm: { effect: -0.2, jitter: 0.001, at: { none: 0.05 } },
    },
    questions: ['turning', 'tuned', 'firm'].map((arm) => question(arm, 'better')),
    tuning,
  })
  expect(Object.fromEntries(cells.map(([name, answer]) => [name, answer]))).toEqual({
    'Is turning better?': 'holds ‡',
    'Is tuned better?': 'holds §',
    'Is firm better?': 'holds',
  })
})

test('a caution names an answer that another learning rate would change', () => {
  const tuning = [{ arm: 'arm', budgetSteps: 10, trials: [], best: 0.1 }]
  const { sentences } = summary({
    arms: { base: {}, arm: { effect: 0.1, jitter: 0.001, best: -0.2 } },
    questions: [question('arm', 'better')],
    tuning,
  })
  expect(sentences).toContain('Take care: the common learning rate gives another answer to “Is arm better?” (§).')
  expect(sentences.join(' ')).toContain('each arm has its own best learning rate')
})

test('a finding against the literature counts the experiments that tried to refute it, and those that did', () => {
  const controls = [
    { name: 'dropless', contrast: ['base', 'arm'], capacity: 'none' },
    { name: 'two seeds', contrast: ['base', 'arm'], seeds: [0, 1] },
  ]
  const finding = (none: number) =>
    summary({
      arms: { base: {}, arm: { effect: 0.1, jitter: 0.0001, at: { none } } },
      questions: [question('arm', 'better', { controls })],
    }).sentences[0]
  expect(finding(0)).toBe(
    'Against the literature, these do not hold: “Is arm better?”; 2 experiments tried to refute this, none did.',
  )
  expect(finding(-0.5)).toContain('2 experiments tried to refute this, 1 did.')
})

describe('a claim that all of several contrasts make no difference', () => {
  // The interval of five seeds is the effect ± 1.963 times the jitter: −0.0042 to −0.0002 and 0.0041 to 0.0077.
  const arms = { base: {}, less: { effect: -0.0022, jitter: 0.001 }, more: { effect: 0.0059, jitter: 0.0009 } }
  const contrasts = [
    ['base', 'less'],
    ['base', 'more'],
  ]
  const claimed = (margin: number, of: StudySketch['arms'] = arms) => {
    const asked = question('less', 'equal', { statement: 'Scaling makes no difference', contrasts, margin })
    const sketch = { arms: of, questions: [asked] }
    return { ...summary(sketch), report: analyse(studyOf(sketch)) }
  }
  const remarkOf = (row: readonly Cell[] | undefined) => (row?.[1] as { readonly note?: string } | undefined)?.note

  test('shows the one nearest to the margin, in the table, in its drawing and in sentences', () => {
    const { rows, cells, report } = claimed(0.01)
    expect(rows[0]?.[0]).toEqual({
      text: 'Is less equal?',
      note: 'more against base, the deciding one of 2',
    })
    expect(cells[0]?.slice(3, 5)).toEqual(['+0.0059', '0.0041 to 0.0077'])
    expect(rows[0]?.[2]).toMatchObject({ mean: expect.closeTo(0.0059, 9), low: expect.closeTo(0.0041, 4) })
    const end = '(95 % interval 0.0041 to 0.0077, 5 seeds); detectable in 2 of 2, within the margin.'
    expect(report.sections.flatMap(({ verdicts }) => verdicts)).toContain(
      `“Scaling makes no difference” (arXiv 0000.00000) holds here: more against base, the deciding one of 2, +0.0059 nats a token ${end}`,
    )
    expect(report.headline).toBe(
      `This study agrees: “Scaling makes no difference”. In the contrast that decides, of 2: “more” has a held-out loss 0.0059 nats a token higher (worse) than “base” ${end}`,
    )
  })

  test('is called detectable if intervals exclude zero within the margin, and not otherwise', () => {
    expect(remarkOf(claimed(0.01).rows[0])).toBe('detectable in 2 of 2, within the margin')
    const noisy = { ...arms, less: { effect: -0.0022, jitter: 0.002 } }
    expect(remarkOf(claimed(0.01, noisy).rows[0])).toBe('detectable in 1 of 2, within the margin')
    const small = { ...arms, less: { effect: 0 }, more: { effect: 0.0002, jitter: 0.002 } }
    expect(remarkOf(claimed(0.01, small).rows[0])).toBeUndefined()
    // An interval that crosses the margin, or lies beyond it, leaves nothing to remark.
    expect(remarkOf(claimed(0.005).rows[0])).toBeUndefined()
    expect(remarkOf(claimed(0.003).rows[0])).toBeUndefined()
    const { rows } = summary({ arms, questions: [question('more', 'equal', { margin: 0.01 })] })
    expect(remarkOf(rows[0])).toBe('detectable, within the margin')
    const directed = summary({ arms, questions: [question('more', 'worse')] })
    expect(remarkOf(directed.rows[0])).toBeUndefined()
  })

  test('has each contrast with its own remark in the section of the question', () => {
    const { report } = claimed(0.01, { ...arms, less: { effect: -0.0022, jitter: 0.002 } })
    const tables = report.sections.flatMap(({ blocks }) => blocks.filter((block) => block.kind === 'table'))
    const own = tables.find(({ caption }) => caption.startsWith('The claim in each of its contrasts'))
    expect(own?.rows.map((row) => row[1])).toEqual([
      { text: 'holds', tone: 'strong' },
      { text: 'holds', tone: 'strong', note: 'detectable, within the margin' },
    ])
  })
})

test('effects that are visible are those that the pilot detects, on the scale of each kind', () => {
  const { cells } = summary({
    arms: { base: {}, arm: { effect: -0.1, jitter: 0.01 } },
    questions: [question('arm', 'better')],
  })
  expect(cells[0]?.at(-1)).toBe(detectableEffect(0.01 * Math.sqrt(2.5), 5).toFixed(3))
  const imbalance = { expect: 'rises', statement: 'It rises' }
  const by = Object.fromEntries([0.1, 0.3, 0.5, 0.7, 0.9].map((cv, i) => [`arm ${i}`, { cv, effect: cv / 10 }]))
  const correlated = summary({
    arms: { base: { cv: 0.05 }, ...by },
    questions: [
      {
        ...question('arm 0', 'better'),
        contrasts: Object.keys(by).map((arm) => ({ baseline: 'base', arm })),
        claims: [claimSchema.parse({ kind: 'correlation', ...imbalance })],
      },
    ],
  })
  // Fisher's z of six arms has the error 1/√3, and a normal deviate is found four times in five at 1.96 + 0.8416.
  expect(correlated.cells[0]?.at(-1)).toBe(Math.tanh(2.8016 / Math.sqrt(3)).toFixed(2))
})

test('a question without a claim has a row with its clearest difference, which need not be the largest', () => {
  const contrasts = ['a', 'b', 'c'].map((arm) => ({ baseline: 'base', arm }))
  const { rows, cells, headline } = summary({
    arms: { base: {}, a: { effect: 0.1, jitter: 0.001 }, b: { effect: -0.3, jitter: 0.01 }, c: { jitter: 0.01 } },
    questions: [{ id: 'q', title: 'A question', about: '', view: 'plain', contrasts }, question('c', 'worse')],
  })
  expect(cells[0]?.slice(0, 2)).toEqual(['A question', '2 of 3 differ'])
  // t is 0.1 / 0.000707 = 141 for a, and 0.3 / 0.00707 = 42 for b.
  expect(cells[0]?.[3]).toBe('+0.1000')
  expect(rows[0]?.[0]).toMatchObject({ note: 'a against base, the clearest of 2' })
  expect(headline).toMatch(/^“a” has a held-out loss 0.1000 nats a token higher /)
})

test('a question of which no contrast differs has a row with the contrast that is nearest to a difference', () => {
  const contrasts = ['noisy', 'near', 'one seed'].map((arm) => ({ baseline: 'base', arm }))
  const { rows, cells } = summary({
    arms: {
      base: {},
      noisy: { effect: 0.1, jitter: 0.2 },
      // The interval −0.02 ± 0.018 excludes zero, but p is 0.036, which does not survive the correction for two.
      near: { effect: -0.02, jitter: 0.0092 },
      'one seed': { effect: 0.9, missing: [1, 2, 3, 4] },
      better: { effect: -0.2, jitter: 0.001 },
    },
    questions: [{ id: 'q', title: 'A question', about: '', view: 'plain', contrasts }, question('better', 'better')],
  })
  expect(cells[1]?.slice(0, 2)).toEqual(['A question', '0 of 2 differ'])
  expect(rows[1]?.[0]).toMatchObject({ note: 'near against base, the nearest to a difference' })
})

test('the facts have the pilot: how seeds differ, and which effect the study finds', () => {
  const { facts } = analyse(
    studyOf({
      arms: { base: {}, arm: {} },
      pilot: {
        baseline: 'base',
        arm: 'arm',
        differences: [0.1, 0.2, 0.3],
        deviation: 0.0031,
        seeds: 5,
        detectable: 0.0056,
      },
    }),
  )
  expect(facts.find((fact) => fact.startsWith('Pilot'))).toMatch(
    /over 3 seeds.* arm and base .* 0\.0031 .* with 5 seeds, a true difference of 0\.0056/,
  )
})
