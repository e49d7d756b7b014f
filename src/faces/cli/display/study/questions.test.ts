/** The questions of a study before it runs, from its specification to the terminal. */
import { expect, test } from 'vitest'
import { questionPlans } from '../../../../tools/study/estimate/question-plans.ts'
import { expand } from '../../../../tools/study/grid/grid.ts'
import { type SpecificationInput, specificationSchema } from '../../../../tools/study/specification.ts'
import { colorsFor } from '../../io.ts'
import { fakeIo } from '../../testing/fake.ts'
import { questionsText } from './questions.ts'

const { io } = fakeIo()
const colors = colorsFor(io.stdout, io.env)

const input: SpecificationInput = {
  arms: { one: {}, two: { 'model.moe.k': 2 }, three: { 'model.moe.k': 3 } },
  questions: [
    {
      title: 'Do more experts help?',
      baseline: 'one',
      arms: ['two', 'three'],
      claims: [
        { statement: 'They do', kind: 'difference', expect: 'better', margin: 0.01, of: 'most' },
        {
          ...{
            statement: 'The second pays its time',
            kind: 'speed',
            measure: 'seconds',
            expect: 'equal',
            margin: 0.05,
          },
          contrasts: [['one', 'two']],
          controls: [{ name: 'without a capacity', contrast: ['one', 'two'], capacity: 'none' }],
        },
        {
          ...{ statement: 'Losses fall with k', kind: 'trend', expect: 'falls', over: 'model.moe.k' },
          arms: ['one', 'two', 'three'],
        },
      ],
    },
    { title: 'The third', contrasts: [['two', 'three']] },
  ],
}

test('a question has its contrasts by baseline, and each claim the number, what is expected of it, and what it is about', async () => {
  const { questions } = await expand(specificationSchema.parse(input))
  const lines = questionsText(questionPlans(questions), colors, 100).split('\n')
  expect(lines.map((line) => line.trimEnd())).toEqual([
    '  Do more experts help?',
    '    two and three against one',
    '    claim: They do',
    '      expects the loss: better by more than 0.01; most of these contrasts',
    '    claim: The second pays its time',
    '      expects the seconds to the same loss: equal, within 0.05; two against one',
    '      controls: without a capacity (two against one)',
    '    claim: Losses fall with k',
    '      expects the loss over model.moe.k: falls; of one, two and three',
    '  The third',
    '    three against two',
    '',
  ])
  const narrow = questionsText(questionPlans(questions), colors, 40).split('\n')
  expect(Math.max(...narrow.map((line) => line.length))).toBeLessThanOrEqual(40)
})
