import { describe, expect, test } from 'vitest'
import type { Block, Table } from '../../report/index.ts'
import type { StudyResults } from '../contract.ts'
import { type StudySketch, studyOf } from '../testing/results.ts'
import { analyse } from './analyse.ts'

const sectionOf = (results: StudyResults, id: string) => {
  const section = analyse(results).sections.find((one) => one.id === id)
  if (section === undefined) throw new Error(`no section ${id}`)
  return section
}
const plain = (sketch: StudySketch) => sectionOf(studyOf(sketch), 'plain')
const tables = (blocks: readonly Block[]): Table[] => blocks.filter((block) => block.kind === 'table')

/** Differences −0.021 + 0.005 · (1, −1, 2, −2, 0): standard deviation 0.005 · √2.5, t(4) = 2.7764. */
const half = (2.7764451 * 0.005 * Math.sqrt(2.5)) / Math.sqrt(5)

describe('a verdict', () => {
  test('of a better arm gives the gain as a positive number, with the interval worked out by hand', () => {
    const { verdicts, blocks } = plain({ arms: { 'top-1': {}, '2 top-1': { effect: -0.021, jitter: 0.005 } } })
    expect([0.021 - half, 0.021 + half].map((end) => end.toFixed(4))).toEqual(['0.0112', '0.0308'])
    expect(verdicts).toEqual([
      '2 top-1 is better than top-1 by 0.0210 nats a token (95 % interval 0.0112 to 0.0308, 5 seeds).',
    ])
    const forest = blocks.find((block) => block.kind === 'figure' && block.form === 'intervals')
    expect(forest).toMatchObject({
      zero: 0,
      sides: ['better', 'worse'],
      rows: [{ label: '2 top-1', mean: expect.closeTo(-0.021, 9), low: expect.closeTo(-0.021 - half, 6) }],
    })
  })

  test('of a worse arm says worse', () => {
    const { verdicts } = plain({ arms: { base: {}, arm: { effect: 0.05, jitter: 0.005 } } })
    expect(verdicts[0]).toMatch(/^arm is worse than base by 0\.0500 nats a token/)
  })

  test('whose interval holds nought claims no difference, nor equality', () => {
    const { verdicts } = plain({ arms: { base: {}, arm: { effect: -0.003, jitter: 0.005 } } })
    expect(verdicts[0]).toBe(
      'No difference found between arm and base: −0.0030 nats a token (95 % interval −0.0128 to 0.0068, 5 seeds).',
    )
  })

  test('of one seed finds nothing', () => {
    const { verdicts, blocks } = plain({ arms: { base: {}, arm: { effect: -0.5 } }, seeds: [7] })
    expect(verdicts[0]).toMatch(
      /^arm has a loss 0\.500 nats a token below base with the one seed .* nothing is found yet\.$/,
    )
    expect(tables(blocks)[0]?.rows[1]).toContain('−0.500')
  })

  test('without pairs waits for runs, and says when all failed', () => {
    const arms = { base: {}, late: { missing: [0, 1, 2, 3, 4] }, broken: { failed: [0, 1, 2, 3, 4] } }
    const { verdicts } = plain({ arms })
    expect(verdicts[0]).toBe('Not enough runs yet.')
    expect(verdicts).toContain('broken against base: not enough runs yet (every run of broken so far failed).')
  })

  test('counts only the seeds that both finished', () => {
    const { verdicts } = plain({
      arms: { base: { failed: [1] }, arm: { effect: -0.021, jitter: 0.001, missing: [4] } },
    })
    expect(verdicts[0]).toContain('3 seeds')
  })

  test('does not compare losses on different text', () => {
    const { verdicts } = plain({ arms: { base: {}, arm: { effect: -0.021, corpus: 'another' } } })
    expect(verdicts).toEqual([
      'arm against base: not enough runs yet on the same text.',
      '5 pairs of runs left out: the two saw different text or tokens.',
    ])
  })

  test('of runs that are the same says so', () => {
    const { verdicts } = plain({ arms: { base: { jitter: 0.01 }, arm: { jitter: 0.01 } } })
    expect(verdicts[0]).toBe('arm and base have the same loss in all 5 seeds.')
  })

  test('leaves out a ratio of step times that the turns do not tell from 1', () => {
    const cost = (...arm: number[]) =>
      plain({
        arms: { base: {}, arm: { effect: -0.021, jitter: 0.001 } },
        timings: [
          { arm: 'base', stepMs: 100, turnsMs: [100, 100, 100].slice(0, arm.length), engine: '' },
          { arm: 'arm', stepMs: 93, turnsMs: arm, engine: '' },
        ],
      }).verdicts[0]
    expect(cost(70, 93, 120)).not.toContain('step time')
    expect(cost(93)).not.toContain('step time')
    expect(cost(92, 93, 94)).toMatch(/, at 0\.93 times the step time \(95 % interval 0\.91 to 0\.96, 3 turns\)\.$/)
  })

  test('names what the arm costs: the ratio of FLOPs, and of step times by turns', () => {
    const { verdicts, blocks } = plain({
      arms: { base: { trainFlops: 6e13 }, arm: { effect: -0.021, jitter: 0.001, trainFlops: 9e13 } },
      timings: [
        { arm: 'base', stepMs: 100, turnsMs: [100, 200], engine: '' },
        { arm: 'arm', stepMs: 120, turnsMs: [120, 240], engine: '' },
      ],
    })
    expect(verdicts[0]).toMatch(/, at 1\.50 times the FLOPs and 1\.20 times the step time\.$/)
    expect(tables(blocks)[0]?.rows[1]).toEqual(expect.arrayContaining(['1.50', '120.0 ms']))
  })
})

describe('several comparisons', () => {
  // Alone, an arm at t = 3 with 4 degrees of freedom has p = 0.04; of six such none survives.
  const weak = { effect: -0.003 * Math.sqrt(2.5 / 5), jitter: 0.001 }
  const arms = { base: {}, a: weak, b: weak, c: weak, d: weak, e: weak, f: weak }

  test('are counted, with what chance alone would find', () => {
    const { verdicts } = plain({ arms })
    expect(verdicts.at(-1)).toBe(
      "This section makes 6 comparisons of loss; if no arm differed, about 0.30 of them would still show a difference by chance: here 6 of them do, and 0 of these after Holm's correction.",
    )
  })

  test('are drawn with a note that colours know of no correction', () => {
    const captionOf = (sketch: StudySketch) =>
      plain(sketch).blocks.find((block) => block.kind === 'figure' && block.form === 'intervals')?.caption
    expect(captionOf({ arms })).toMatch(/Colour: the interval is clear of nought, before Holm's correction\.$/)
    expect(captionOf({ arms: { base: {}, a: weak } })).not.toContain('Holm')
  })

  test('mark those that do not survive the correction', () => {
    const { verdicts } = plain({ arms })
    expect(verdicts[0]).toMatch(/^Of 6 comparisons: better, but not after Holm's correction: a \(by 0\.002/)
    expect(verdicts[1]).toMatch(
      /does not survive Holm's correction for the 6 comparisons of loss in this section, so it may be chance\.$/,
    )
    expect(plain({ arms: { base: {}, a: weak } }).verdicts[0]).not.toContain('Holm')
  })
})

describe('a comparison that is listed twice', () => {
  const weak = { effect: -0.003 * Math.sqrt(2.5 / 5), jitter: 0.001 }
  const listed = (...pairs: readonly (readonly [string, string])[]) =>
    plain({ arms: { base: {}, a: weak, b: weak }, contrasts: pairs.map(([baseline, arm]) => ({ baseline, arm })) })

  test.each([
    ['in one direction', ['base', 'a'] as const],
    ['in both', ['a', 'base'] as const],
  ])('%s counts once', (_, again) => {
    expect(listed(['base', 'a'], ['base', 'b'], again)).toEqual(listed(['base', 'a'], ['base', 'b']))
  })
})

describe('the report', () => {
  const results = studyOf({
    arms: {
      base: { elsewhere: { moby: 0 } },
      arm: { effect: -0.02, jitter: 0.001, failed: [2], missing: [4], elsewhere: { moby: -0.03 } },
    },
  })
  const report = analyse(results)

  test('opens with one answer a question and closes with what is missing', () => {
    expect(report.sections.map(({ id }) => id)).toEqual(['summary', 'plain', 'elsewhere', 'missing'])
    expect(report.sections[0]?.verdicts).toEqual([expect.stringMatching(/^A question: arm is better than base/)])
    expect(tables(report.sections.at(-1)?.blocks ?? [])[0]?.rows).toEqual([
      ['arm', '2', 'failed', 'out of memory'],
      ['arm', '4', 'not run yet', ''],
    ])
  })

  test('states runs, model, tokens, text and machine', () => {
    expect(report.facts).toEqual([
      '8 of 10 runs done (1 failed, 1 not run yet): 2 arms, 5 seeds (0, 1, 2, 3, 4)',
      'Model: 4.12 M parameters, 1.10 M used by a token',
      'Tokens a run: 4.10 M',
      'Text: sotu (text-and-tok)',
      'Machine: An imaginary CPU, 8 threads',
    ])
  })

  test('counts arms that run, not those that are only timed', () => {
    const study = studyOf({ arms: { base: {}, arm: {} } })
    const facts = analyse({ ...study, arms: { ...study.arms, 'timed only': {} } }).facts
    expect(facts[0]).toBe('10 of 10 runs done: 2 arms, 5 seeds (0, 1, 2, 3, 4)')
  })

  // With seeds 0, 1 and 3 left, jitters 1, −1 and −2 have a mean of −2/3.
  test('says whether a difference is there again on other text', () => {
    const { verdicts, blocks } = sectionOf(results, 'elsewhere')
    expect(verdicts[0]).toContain(
      'of 1 comparison with an interval clear of nought on the held-out text, 1 has one on the same side here',
    )
    expect(tables(blocks)[0]?.rows[0]?.[3]).toMatch(/^−0\.0307 \(/)
  })
})
