/** The advice at equal time, with step times that are given instead of planned. */
import { expect, test } from 'vitest'
import { modelSchema } from '../../../core/model/config.ts'
import { fixed } from '../../../core/text/numbers.ts'
import { lossAt } from '../../law/joint-law.ts'
import type { Plan } from '../plan.ts'
import { loadLaw } from './load-law.ts'
import { worth } from './worth.ts'

const model = modelSchema.parse({
  vocabulary: 1024,
  layers: 3,
  width: 96,
  heads: 6,
  hidden: 192,
  sequence: 64,
  moe: null,
})
const tokens = 5e6

/** A step of a model with experts takes `slower` times as long as one of the dense model. */
const adviceWith = async (slower: number) => {
  const law = await loadLaw()
  const answer = await worth(model, tokens, law, async ({ moe }) => {
    const time = { stepSeconds: moe ? slower : 1 }
    return { best: [{ memory: { deviceBytes: 1e9 }, time }], rejected: [] } as unknown as Plan
  })
  const experts = Number(/^Experts: (\d+) of them/.exec(answer.advice)?.[1])
  const at = (tokens: number, experts: number) => lossAt(law.coefficients, { active: answer.active, tokens, experts })
  return { advice: answer.advice, atEqualTime: at(tokens, experts) - at(tokens * slower, 1) }
}

test('the advice has what is left of the gain against a dense model that trains for as long', async () => {
  const { advice, atEqualTime } = await adviceWith(1.1)
  expect(atEqualTime).toBeLessThan(0)
  expect(advice).toContain(
    `1.10 × the time of a step; against a dense model that trains for as long, by about ${fixed(-atEqualTime, 3)}.`,
  )
})

test('the advice says if nothing is left, and says nothing beyond the law', async () => {
  const { advice, atEqualTime } = await adviceWith(2)
  expect(atEqualTime).toBeGreaterThan(0)
  expect(advice).toMatch(/, while a dense model that trains for as long would have the lower loss\.$/)
  expect((await adviceWith(1000)).advice).toMatch(/1000\.00 × the time of a step\.$/)
})
