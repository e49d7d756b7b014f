/** Claims as a user writes them: how they are parsed, and which are refused before the first run. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { temporaryFolder } from '../../node/data/testing/temporary-folder.ts'
import { claimSchema } from './claim.ts'
import { expand } from './grid/grid.ts'
import { readSpecification } from './grid/read-specification.ts'
import { specificationSchema } from './specification.ts'

const temporary = temporaryFolder()

const arms = {
  'top-1': { 'model.moe.k': 1 },
  'top-2': { 'model.moe.k': 2 },
  longer: { 'model.moe.k': 1, 'train.steps': 77 },
  'other words': { 'model.moe.k': 3, 'model.vocabulary': 300 },
  'other text': { 'model.moe.k': 4, 'data.heldOut': 0.1 },
}
type Fields = Readonly<Record<string, unknown>>
const claim = { statement: 'Two are better than one', kind: 'difference', expect: 'better' }
const question = { title: 'Two?', baseline: 'top-1', arms: ['top-2'] }

const questionOf = async (fields: Fields) => {
  const input = specificationSchema.parse({ base: 'tiny', arms, questions: [{ ...question, ...fields }] })
  return (await expand(input)).questions[0]
}

async function fromFile(fields: Fields) {
  const file = join(temporary.make(), 'study.yaml')
  await writeFile(file, stringify({ base: 'tiny', arms, questions: [{ ...question, ...fields }] }))
  return readSpecification(file)
}
const refused = (fields: Fields) => expect(fromFile({ claim: { ...claim, ...fields } })).rejects

describe('a claim', () => {
  test('belongs to its question, with its defaults filled in', async () => {
    const found = await questionOf({ claim })
    expect(found?.claims).toEqual([{ ...claim, margin: 0, controls: [], of: 'all' }])
    expect((await questionOf({}))?.claims).toBeUndefined()
  })

  test('of a witness question may name its own arms, so that the question needs no contrasts', async () => {
    const trend = {
      statement: 'It falls',
      kind: 'trend',
      arms: ['top-1', 'top-2'],
      over: 'model.moe.k',
      expect: 'falls',
    }
    const input = { base: 'tiny', arms, questions: [{ title: 'Witness', view: 'witness', claims: [trend] }] }
    const { questions } = await expand(specificationSchema.parse(input))
    expect(questions[0]).toMatchObject({
      view: 'witness',
      contrasts: [],
      claims: [{ kind: 'trend', arms: trend.arms }],
    })
  })

  test('that two numbers are equal needs a margin, in every kind', () => {
    for (const [kind, expect_] of [
      ['difference', 'equal'],
      ['speed', 'equal'],
      ['trend', 'flat'],
      ['returns', 'constant'],
      ['correlation', 'flat'],
    ]) {
      const without = claimSchema.safeParse({ statement: 'equal', kind, expect: expect_ })
      expect(without.error?.issues[0]?.message).toMatch(/needs a margin above 0/)
      expect(claimSchema.safeParse({ statement: 'equal', kind, expect: expect_, margin: 0.1 }).success).toBe(true)
    }
  })

  test('about unknown arms, or arms that cannot be compared, is refused', async () => {
    await expect(questionOf({ claim: { ...claim, contrasts: [['top-1', 'top-3']] } })).rejects.toThrow(
      /unknown arm "top-3" in questions\.0\.claim\.contrasts\.0 of "Two are better than one" .*did you mean "top-/,
    )
    const controls = [{ name: 'longer', contrast: ['top-1', 'longer'] }]
    await expect(questionOf({ claim: { ...claim, controls } })).rejects.toThrow(
      /invalid questions\.0\.claim\.controls\.0\.contrast of .*"longer" cannot be compared with "top-1": train\.steps differs/,
    )
  })

  test.each([
    ['parameter', 'parameters'],
    ['model.moe.kk', 'model.moe.k'],
    ['model.moe.router', 'model.moe.factor'],
  ])('of a trend over %s, which is no number of its arms, is refused: did you mean %s?', async (over, near) => {
    const trend = { statement: 'It falls', kind: 'trend', expect: 'falls', arms: ['top-1', 'top-2'], over }
    await expect(questionOf({ claim: trend })).rejects.toThrow(
      `invalid questions.0.claim.over: "${over}" (expected parameters, activeParameters, tokens, or the path of a setting ` +
        `that is a positive number in at least two arms of the trend; did you mean "${near}"?)`,
    )
    await questionOf({ claim: { ...trend, over: near } })
  })

  test.each([
    ['other words', 'model.vocabulary'],
    ['other text', 'data'],
  ])(
    'of a trend over the losses of arms is refused with %s, but not with another number of steps',
    async (arm, field) => {
      const trendOver = (...names: readonly string[]) => ({
        ...{ statement: 'It falls', kind: 'trend', expect: 'falls', over: 'model.moe.k' },
        arms: ['top-1', 'top-2', ...names],
      })
      await expect(questionOf({ claim: trendOver(arm) })).rejects.toThrow(
        `invalid questions.0.claim.arms of "It falls": "${arm}" cannot be in a trend with "top-1": ${field} differs, ` +
          'so their losses are not of the same tokens',
      )
      await questionOf({ claim: trendOver('longer') })
    },
  )

  test('is refused together with a list of claims, or if it has both arms and contrasts', async () => {
    await expect(fromFile({ claim, claims: [claim] })).rejects.toThrow(/has both claim and claims/)
    const both = {
      arms: ['top-1', 'top-2'],
      contrasts: [
        ['top-1', 'top-2'],
        ['top-2', 'top-1'],
      ],
    }
    await refused({ kind: 'trend', expect: 'falls', ...both }).toThrow(/has both arms and contrasts/)
  })
})
