/** The answers of a study in a terminal, from made-up results with known effects. */
import { stripVTControlCharacters } from 'node:util'
import { describe, expect, test } from 'vitest'
import { analyse } from '../../../../tools/study/analysis/analyse.ts'
import { claimSchema } from '../../../../tools/study/claim.ts'
import { type StudySketch, studyOf } from '../../../../tools/study/testing/results.ts'
import { colorsFor } from '../../io.ts'
import { main } from '../../program/main.ts'
import { fakeIo } from '../../testing/fake.ts'
import { answersText } from './answers.ts'

const { io } = fakeIo()
const shown = (sketch: StudySketch, columns = Number.POSITIVE_INFINITY) =>
  answersText(analyse(studyOf(sketch)), colorsFor(io.stdout, io.env), columns)

const question = (arm: string, title: string, expected: string) => ({
  ...{ id: arm, title, about: '', view: 'plain' as const, contrasts: [{ baseline: 'base', arm }] },
  claims: [claimSchema.parse({ kind: 'difference', statement: `${arm} is ${expected}`, expect: expected })],
})
const arms = {
  base: {},
  'two prototypes of top-1': { effect: -0.2, jitter: 0.01 },
  sure: { effect: 0.05, jitter: 0.001 },
  open: { effect: 0.001, jitter: 0.01 },
}
const questions = [
  question('open', 'Is open better?', 'better'),
  question('two prototypes of top-1', 'Do two prototypes of top-1 reach a lower loss than one?', 'better'),
  question('sure', 'Is sure better?', 'better'),
]

describe('the answers', () => {
  test('are the table of the report, strongest finding first, with contrast and unit, below the headline', () => {
    expect(shown({ arms, questions }).split('\n')).toEqual([
      '',
      '  This study disagrees: “sure is better”. “sure” has a held-out loss 0.0500 nats a token higher',
      '  (worse) than “base” (95 % interval 0.0480 to 0.0520, 5 seeds).',
      '',
      '  claim                                                    answer          effect  95 % interval',
      '  Is sure better?                                          does not hold  +0.0500  0.0480 to 0.0520',
      '    sure against base; nats a token',
      '  Do two prototypes of top-1 reach a lower loss than one?  holds          −0.2000  −0.2196 to −0.1804',
      '    two prototypes of top-1 against base; nats a token',
      '  Is open better?                                          undecided      +0.0010  −0.0186 to 0.0206',
      '    open against base; nats a token',
      '',
      '  Effect: negative, or below ×1, if the arm has the lower loss or needs less than its baseline.',
      '',
    ])
  })

  test.each([80, 60, 40])('fit into %d columns, with every answer and number', (columns) => {
    const text = shown({ arms, questions }, columns)
    for (const line of text.split('\n')) expect([...line].length, line).toBeLessThanOrEqual(columns)
    const words = text.replace(/\s+/g, ' ')
    for (const part of ['does not hold', 'holds', 'undecided', '−0.2000', '−0.2196 to −0.1804', '−0.0186 to 0.0206'])
      expect(words).toContain(part)
    // The table needs 24 columns for the claims.
    expect(text.includes('  claim ')).toBe(columns === 80)
  })

  test('of a study that is not complete say how many runs there are, and explain the marks that occur', () => {
    const text = shown({
      arms: { ...arms, sure: { ...arms.sure, missing: [4], leak: { train: 0.5, eval: null } } },
      questions,
    })
    expect(text).toMatch(/^ {2}So far, with 19 of 20 runs: /m)
    expect(text).toMatch(/^ {2}Is sure better\? +does not hold † +\+0\.05\d* +anytime 0\.0/m)
    expect(text).toContain('  †: an arm sees later tokens, so this is no answer for a causal model.\n')
    expect(text).toContain('  anytime: the interval holds however often one looks while seeds arrive.\n')
    expect(text).not.toContain('°')
  })

  test('explain a mark only where it is one, and not where it is part of a name', () => {
    const named = { base: {}, 'anytime, 20°': arms.sure, '5 § ‡': arms['two prototypes of top-1'] }
    const text = shown({
      arms: named,
      questions: Object.keys(named)
        .slice(1)
        .map((arm) => question(arm, arm, 'better')),
    })
    expect(text).toContain('anytime, 20° against base')
    expect(text.split('\n').filter((line) => /^ {2}.{1,7}: /.test(line))).toEqual([
      '  Effect: negative, or below ×1, if the arm has the lower loss or needs less than its baseline.',
    ])
  })

  test('to questions without a claim name the contrast, and without runs say so', () => {
    expect(shown({ arms: { base: {}, sure: arms.sure } })).toMatch(/ worse +\+0\.0500 .*\n {4}sure against base;/)
    const none = { failed: [0, 1, 2, 3, 4] }
    const text = shown({ arms: { base: none, sure: none }, questions: [question('sure', 'Is sure better?', 'better')] })
    expect(text).toMatch(/Is sure better\? +undecided +– +–\n/)
  })
})

test('choir study prints the answers before the files of the report; with --json nothing changes', async () => {
  const answers = analyse(studyOf({ arms, questions }))
  const files = { html: 'out/report.html', markdown: 'm', results: 'r', parquet: 'p', curves: 'c' }
  const outcome = { interrupted: false, finished: 20, failed: 0, runs: 20, files, answers, predictions: [], others: [] }
  for (const report of [[], ['--report']]) {
    const fake = fakeIo({ operations: { study: async () => outcome, writeStudyReport: async () => outcome } })
    const line = ['study', 'm6t', '--out', 'out', ...report]
    expect(await main(line, fake.io)).toBe(0)
    const text = stripVTControlCharacters(fake.stdout.text)
    expect(text).toMatch(
      /Is sure better\? +does not hold +\+0\.0500 +0\.0480 to 0\.0520\n[\s\S]*report +out\/report\.html/,
    )
    const json = fakeIo({ operations: { study: async () => outcome, writeStudyReport: async () => outcome } })
    expect(await main([...line, '--json'], json.io)).toBe(0)
    expect(json.stdout.text).not.toContain('Is sure better')
  }
})
