/** Predictions: their mistakes, and the protocol that is registered. */
import { describe, expect, test } from 'vitest'
import { checksumOf } from '../results/checksum.ts'
import { type SpecificationInput, specificationSchema } from '../specification.ts'
import { expand } from './grid.ts'

const study: SpecificationInput = {
  base: 'tiny',
  arms: { a: {}, b: { 'model.moe.k': 2 }, c: { 'model.moe.k': 3 } },
  questions: [
    { title: 'Is b better?', baseline: 'a', arms: ['b'] },
    {
      title: 'Are all better?',
      contrasts: [
        ['a', 'b'],
        ['a', 'c'],
      ],
    },
  ],
}

const protocolOf = async (more: Partial<SpecificationInput>) =>
  (await expand(specificationSchema.parse({ ...study, ...more }))).protocol

type Given = NonNullable<SpecificationInput['predictions']>[number]
const refusal = async (prediction: Given, more: Partial<SpecificationInput> = {}): Promise<string> => {
  try {
    await protocolOf({ predictions: [prediction], ...more })
  } catch (error) {
    return (error as Error).message
  }
  throw new Error('not refused')
}
const problems = (prediction: object): string[] =>
  specificationSchema
    .safeParse({ ...study, predictions: [prediction] })
    .error?.issues.map(({ path, message }) => `${path.join('.')} ${message}`) ?? []

describe('a prediction is refused', () => {
  const question = 'Is b better?'
  test.each([
    [{ question }, 'predictions.0 needs expect (better, worse or equal), or from and to'],
    [{ question, expect: 'better', from: -1, to: 0 }, 'predictions.0 has both expect and from or to'],
    [{ question, to: 0 }, 'predictions.0 has to alone (give both ends of the interval, from and to)'],
    [{ question, from: -0.01, to: -0.05 }, 'predictions.0.from must be below to, which is -0.05'],
    [{ question, from: 0.1, to: 0.1 }, 'predictions.0.from must be below to, which is 0.1'],
    [{ question, expect: 'equal' }, 'predictions.0.margin needs a margin above 0'],
    [{ question, from: 0, to: 1, margin: 0.1 }, 'predictions.0.margin belongs to expect, not to from and to'],
  ])('if its fields contradict each other: %j', (prediction, message) => {
    const found = problems(prediction)
    expect(found).toHaveLength(1)
    expect(found[0]).toContain(message)
  })

  test('for a question that the study lacks, with the nearest title', async () => {
    expect(await refusal({ question: 'Is b beter?', expect: 'better' })).toBe(
      'unknown question "Is b beter?" in predictions.0.question (questions: "Is b better?", "Are all better?"; did you mean "Is b better?"?)',
    )
  })

  test('for two questions of one title, and for a question without contrasts', async () => {
    const twice = [1, 2].map(() => ({ title: 'Twice', baseline: 'a', arms: ['b'] }))
    expect(await refusal({ question: 'Twice', expect: 'better' }, { questions: twice })).toMatch(/two questions have/)
    const trend = { kind: 'trend' as const, statement: 'It falls', expect: 'falls' as const, over: 'model.moe.k' }
    const witness = [{ title: 'Trends', view: 'witness' as const, claims: [{ ...trend, arms: ['a', 'b'] }] }]
    expect(await refusal({ question: 'Trends', expect: 'better' }, { questions: witness })).toMatch(/has no contrasts/)
  })

  test('for a contrast that the question lacks, with the accepted ones; for an unknown arm, with the nearest name', async () => {
    expect(await refusal({ question, expect: 'better', contrasts: [['b', 'a']] })).toBe(
      'invalid predictions.0.contrasts.0 of "Is b better?": ["b","a"] (expected a contrast of the question, [baseline, arm]: ["a","b"]; did you mean ["a","b"]?)',
    )
    expect(await refusal({ question, expect: 'better', contrasts: [['a', 'bb']] })).toMatch(
      /^unknown arm "bb" in predictions\.0\.contrasts\.0 of "Is b better\?" .*did you mean "b"\?/,
    )
  })
})

describe('the protocol', () => {
  const predictions = [{ question: 'Are all better?', expect: 'better' as const }]

  test('has the contrasts of the question, so that a later contrast is a change of the prediction', async () => {
    const protocol = await protocolOf({ predictions })
    expect(protocol).toMatchObject({
      predictions: [
        {
          question: 'Are all better?',
          of: 'all',
          expect: 'better',
          contrasts: [
            ['a', 'b'],
            ['a', 'c'],
          ],
        },
      ],
      seeds: [1, 2, 3],
      capacity: 'train',
    })
    expect(Object.keys(protocol.arms)).toEqual(['a', 'b', 'c'])
  })

  test('has another hash after a change of a prediction, an arm in it, the seeds, the capacity, the intervals or the sweep, and no other', async () => {
    const hashOf = async (more: Partial<SpecificationInput>) => checksumOf(await protocolOf({ predictions, ...more }))
    const first = await hashOf({})
    const arms = study.arms
    expect(await hashOf({ title: 'Another title', arms: { ...arms, d: { 'model.moe.k': 4 } } })).toBe(first)
    expect(await hashOf({ set: { 'data.cache': '/elsewhere' } })).toBe(first)
    const changed = await Promise.all([
      hashOf({ predictions: [{ question: 'Are all better?', expect: 'worse' }] }),
      hashOf({ arms: { ...arms, c: { 'model.moe.k': 3, 'model.moe.factor': 2 } } }),
      hashOf({ seeds: [1, 2] }),
      hashOf({ capacity: 'none' }),
      hashOf({ intervals: 'anytime' }),
      hashOf({ tune: {} }),
    ])
    expect(new Set([first, ...changed]).size).toBe(7)
  })
})
