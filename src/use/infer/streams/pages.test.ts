/**
 * Texts that wait for pages of keys and values.
 *
 * @slow
 */
import { expect, test } from 'vitest'
import { randomFor } from '../../../core/random.ts'
import type { Answer } from './answer.ts'
import { alone, modelOf, readOne, requestOf, schedulerOf, type Wish } from './testing/scheduled-texts.ts'

const seed = Number(process.env.CHOIR_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31))

/** A context of three pages. */
const SEQUENCE = 150

const wishes: readonly Wish[] = [
  { text: 'a', tokens: 20, seed: 1 },
  { text: 'b'.repeat(70), tokens: 30, seed: 2 },
  // Texts beyond the context, whose newer halves are read again.
  { text: 'c'.repeat(100), tokens: 200, seed: 3 },
  { text: 'd'.repeat(30), tokens: 300, seed: 4 },
  // The same prompt twice, and a text whose experts are returned.
  { text: 'e'.repeat(120), tokens: 10, seed: 5 },
  { text: 'e'.repeat(120), tokens: 10, seed: 6 },
  { text: 'e'.repeat(120), tokens: 10, seed: 7, routes: true },
]

test.each([3, 4, 7])('with %i pages for four texts at a time, each text is the one that it is alone', async (pages) => {
  const model = await modelOf({ sequence: SEQUENCE })
  const { scheduler } = schedulerOf(model, 4, {}, pages)
  const requests = await Promise.all(wishes.map((wish) => requestOf(model, wish)))
  const read = await Promise.all(requests.map((request) => readOne(scheduler.open([request]))))
  for (const [i, wish] of wishes.entries()) expect(read[i]?.text, `text ${i}`).toBe((await alone(model, wish)).text)
  await expect.poll(() => scheduler.pages.inUse).toBe(0)
  expect(scheduler.pages.all).toBe(pages)
})

test('a text that needs all pages is not overtaken for ever by small ones', async () => {
  const model = await modelOf({ sequence: SEQUENCE })
  const { scheduler } = schedulerOf(model, 3, {}, 3)
  const ended: string[] = []
  const follow = async (name: string, answer: Answer) => {
    await readOne(answer)
    ended.push(name)
  }
  const small = await requestOf(model, { text: 'a', tokens: 15 })
  const large = await requestOf(model, { text: 'b'.repeat(100), tokens: 45 })
  const texts = [follow('small 0', scheduler.open([small])), follow('small 1', scheduler.open([small]))]
  texts.push(follow('large', scheduler.open([large])))
  for (let i = 2; i < 8; i++) texts.push(follow(`small ${i}`, scheduler.open([small])))
  await Promise.all(texts)
  expect(ended.indexOf('large')).toBeLessThanOrEqual(3)
})

test('no page is lost when a thousand texts are left at any time', { timeout: 300_000 }, async () => {
  const model = await modelOf({ sequence: SEQUENCE })
  const { scheduler } = schedulerOf(model, 4, { queue: 50 }, 5)
  const random = randomFor(seed, 'left')
  const requests = await Promise.all(wishes.map((wish) => requestOf(model, wish)))
  for (let left = 0; left < 1000; ) {
    const answers = Array.from({ length: 10 }, () =>
      scheduler.open([requests[random.integer(requests.length)] as never]),
    )
    for (const answer of answers) {
      // Some are left while they wait, some after a few tokens.
      for (let turn = random.integer(4); turn > 0; turn--) await new Promise((resolve) => setImmediate(resolve))
      answer.leave()
      left++
    }
  }
  await expect.poll(() => scheduler.pages.inUse, { message: `CHOIR_TEST_SEED=${seed}` }).toBe(0)
  const [wish] = wishes as [Wish]
  expect((await readOne(scheduler.open([await requestOf(model, wish)]))).text).toBe((await alone(model, wish)).text)
})
