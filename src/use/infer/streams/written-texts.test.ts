/**
 * Texts that are written together, compared with the generator of one text, with scores and with traces.
 *
 * @slow
 */
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { compileTracer } from '../compiled-tracer.ts'
import { Prefill } from '../generation/prefill.ts'
import { bySteps, bytes, expectNear, type Moe } from '../scoring/testing/scored-model.ts'
import { routingOf } from '../text-routing.ts'
import type { TextRoutes } from './contract.ts'
import {
  alone,
  type End,
  modelOf,
  readAll,
  readOne,
  requestOf,
  schedulerOf,
  type Wish,
} from './testing/scheduled-texts.ts'

/** Prompts that are read token by token and in a pass, and texts beyond the context. */
const wishes: readonly Wish[] = [
  { text: 'Be', tokens: 30, seed: 5 },
  { text: 'A prompt of more than 16 tokens', tokens: 70, seed: 6 },
  { text: '', tokens: 3, seed: 7, temperature: 0 },
  { text: 'The same prompt, of 27 bytes', tokens: 12, seed: 8, topK: 0, topP: 1, temperature: 1.5 },
  { text: 'The same prompt, of 27 bytes', tokens: 21, seed: 9 },
  { text: 'x', tokens: 55, seed: 10, stop: ['e', 'ab'] },
]

describe('texts that are written at the same time are those that the generator writes alone, bit for bit', () => {
  const models: Record<string, Moe | null> = {
    'top-2': { k: 2 },
    prototypes: { router: 'prototype', prototypes: 2, k: 1 },
    random: { router: 'random', k: 2 },
    'a dense model': null,
    'experts in attention': { k: 2, attention: 'all' },
  }
  test.each(Object.entries(models))('%s', { timeout: 120_000 }, async (_, moe) => {
    const model = await modelOf({ moe, tokenizer: bytes })
    const expected = []
    for (const wish of wishes) expected.push(await alone(model, wish))
    const { scheduler } = schedulerOf(model, 4)
    const answers = []
    for (const wish of wishes) answers.push(scheduler.open([await requestOf(model, wish)]))
    const found = await Promise.all(answers.map(readOne))
    for (const [i, { text, reason, tokens }] of expected.entries()) {
      expect(found[i]?.text, `text ${i}`).toBe(text)
      // The scheduler counts an end token too.
      expect(found[i]?.end).toMatchObject({ reason, tokens: reason === 'end' ? tokens + 1 : tokens })
    }
    // Alone in the scheduler, and with other wishes about its tokens, a text is the same too.
    for (const [i, wish] of wishes.entries()) {
      const asked = { ...wish, top: 2, ratesPrompt: i % 2 === 0, routes: moe !== null }
      expect((await readOne(scheduler.open([await requestOf(model, asked)]))).text).toBe(expected[i]?.text)
    }
  })
})

test.each(['Short.', 'A prompt of more than 16 tokens'])(
  'tokens of prompt and text have the log-softmax of the logits: %s',
  async (text) => {
    const model = await modelOf()
    const { scheduler } = schedulerOf(model, 2)
    const request = await requestOf(model, { text, tokens: 7, top: 3, ratesPrompt: true })
    const { prompt, tokens } = await readOne(scheduler.open([request]))
    expect(tokens).toHaveLength(7)
    const ids = [...request.prompt, ...tokens.map(({ id }) => id)]
    const expected = await bySteps(model, ids)
    const rated = [...prompt, ...tokens]
    expectNear(
      rated.map(({ logProbability }) => logProbability),
      expected.map(({ logProbability }) => logProbability),
    )
    for (const [i, { id, top }] of rated.entries()) {
      expect(id).toBe(ids[i + 1])
      expect(top).toHaveLength(3)
      expect(top[0]?.id).toBe(expected[i]?.likeliest)
      expect(top.every((each, t) => t === 0 || each.logProbability <= (top[t - 1]?.logProbability ?? 0))).toBe(true)
    }
    const characters = tokens.reduce((end, { offset }) => Math.max(end, offset), 0)
    expect(tokens[0]?.offset).toBe(0)
    expect(characters).toBeGreaterThan(0)
  },
)

test('with 0 tokens only the prompt is rated, and nothing is written', async () => {
  const model = await modelOf()
  const { scheduler } = schedulerOf(model, 1)
  const { text, prompt, end } = await readOne(
    scheduler.open([await requestOf(model, { text: 'abc', tokens: 0, top: 1, ratesPrompt: true })]),
  )
  expect({ text, rated: prompt.length, end }).toMatchObject({
    text: '',
    rated: 3,
    end: { reason: 'length', tokens: 0 },
  })
})

describe('the experts of each token are those of a trace of the text', () => {
  const routers: Record<string, Moe> = {
    'top-2': { k: 2 },
    prototypes: { router: 'prototype', prototypes: 2, k: 1 },
    hash: { router: 'hash', k: 2 },
    'sigmoid scores': { k: 2, scores: 'sigmoid', renormalize: true },
    'experts in attention': { k: 2, attention: 'qkv' },
  }
  test.each(Object.entries(routers))('%s', { timeout: 120_000 }, async (_, moe) => {
    const model = await modelOf({ moe })
    const compiled = await compileTracer({ ...model, step: 0 }, 'none')
    const { scheduler } = schedulerOf(model, 2)
    for (const text of ['Short.', 'A prompt of more than 16 tokens']) {
      const request = { ...(await requestOf(model, { text, tokens: 8, routes: true })), temperature: 0 }
      const { end } = await readOne(scheduler.open([request]))
      const { ids, routers } = (end as End).routes as TextRoutes
      expect(ids.slice(0, request.prompt.length)).toEqual(request.prompt)
      // A trace of characters reads the same tokens as long as they are ASCII.
      const known = ids.findIndex((id, i) => i > 0 && id > 127)
      const length = (known < 0 ? ids.length : known) - 1
      expect(length).toBeGreaterThanOrEqual(text.length)
      const traced = await routingOf(compiled, bytes.decode(ids.slice(1, 1 + length)))
      expect(routers).toHaveLength(traced.routers.length)
      for (const [r, { layer, module, choices, expert, gate }] of traced.routers.entries()) {
        const found = routers[r]
        expect(found).toMatchObject({ layer, module, choices })
        expect(found?.expert).toHaveLength(ids.length * choices)
        // The first token is the begin token, which a trace leaves out.
        expect(found?.expert.slice(choices, choices * (1 + length))).toEqual(expert)
        expectNear(found?.gate.slice(choices, choices * (1 + length)) ?? [], gate, 2e-3)
      }
    }
    compiled.tracer.release()
  })
})

test('experts are returned for every token once, also beyond the context', async () => {
  const model = await modelOf()
  const { scheduler } = schedulerOf(model, 1)
  const request = await requestOf(model, { text: 'A prompt of more than 16 tokens', tokens: 70, routes: true })
  const { end } = await readOne(scheduler.open([request]))
  const { ids, routers } = (end as End).routes as TextRoutes
  expect(ids).toHaveLength(request.prompt.length + 70)
  for (const { expert, gate } of routers) {
    expect(expert).toHaveLength(2 * ids.length)
    expect(gate).toHaveLength(2 * ids.length)
  }
})

describe('a prompt that another context has read', () => {
  const prompt = 'A prompt of more than 16 tokens'
  const moes: Record<string, Moe | null> = { 'top-2': { k: 2 }, hash: { router: 'hash' }, 'a dense model': null }
  test.each(Object.entries(moes))('is read once, and the texts are those that each is alone: %s', async (_, moe) => {
    const model = await modelOf({ moe })
    const reading = vi.spyOn(Prefill.prototype, 'runBlock')
    onTestFinished(() => reading.mockRestore())
    const { scheduler } = schedulerOf(model, 3)
    const wishes = [5, 6, 7, 8].map((seed) => ({ text: prompt, tokens: 7, seed }))
    const requests = await Promise.all(wishes.map((wish) => requestOf(model, wish)))
    const found = await readAll(scheduler.open(requests), 4)
    expect(reading).toHaveBeenCalledTimes(1)
    for (const [i, wish] of wishes.entries()) expect(found[i]?.text).toBe((await alone(model, wish)).text)

    // The context that has read it reads another one, goes beyond its end, and begins with a short one.
    const others = [
      { text: 'Another prompt of many tokens', tokens: 5 },
      { text: prompt, tokens: 30 },
      { text: prompt, tokens: 4 },
      { text: 'short', tokens: 4 },
      { text: prompt, tokens: 4 },
    ]
    for (const wish of [...others, ...others.toReversed()])
      expect((await readOne(scheduler.open([await requestOf(model, wish)]))).text).toBe((await alone(model, wish)).text)
  })

  test('is read again by a random router, whose experts depend on the seed, and where routes are asked for', async () => {
    const reading = vi.spyOn(Prefill.prototype, 'runBlock')
    onTestFinished(() => reading.mockRestore())
    for (const [moe, routes] of [[{ router: 'random' }, false] as const, [{ k: 2 }, true] as const]) {
      const model = await modelOf({ moe })
      const { scheduler } = schedulerOf(model, 2)
      reading.mockClear()
      for (const seed of [1, 2]) {
        const wish = { text: prompt, tokens: 5, seed, routes }
        expect((await readOne(scheduler.open([await requestOf(model, wish)]))).text).toBe(
          (await alone(model, wish)).text,
        )
      }
      // Two by the scheduler, and two by the generator of one text.
      expect(reading).toHaveBeenCalledTimes(4)
    }
  })
})
