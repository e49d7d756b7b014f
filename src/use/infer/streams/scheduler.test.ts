/**
 * Texts that are written together, compared with the generator of one text, with scores and with traces.
 *
 * @slow
 */
import { afterAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { createRuntime } from '../../../engine/cpu/cpu-runtime.ts'
import { compileTracer } from '../compiled-tracer.ts'
import { continueText, promptTokens } from '../continue-text.ts'
import { Contexts } from '../generation/contexts.ts'
import { Prefill } from '../generation/prefill.ts'
import {
  type Asked,
  bySteps,
  bytes,
  expectNear,
  type Moe,
  scoredModel,
  VOCABULARY,
} from '../scoring/testing/scored-model.ts'
import { routingOf } from '../text-routing.ts'
import type { Answer } from './answer.ts'
import type { TextEvent, TextRequest, TextRoutes, WrittenToken } from './contract.ts'
import { QueueFull, Scheduler, type SchedulerOptions } from './scheduler.ts'
import type { RatedToken } from './token-probabilities.ts'

const runtime = await createRuntime({ threads: 1 })
afterAll(() => runtime.close())

type Model = Awaited<ReturnType<typeof scoredModel>>

/** A tokenizer whose end token no model writes, so that texts have the lengths that tests ask for. */
const endless = { ...bytes, rules: { ...bytes.rules, end: [VOCABULARY] } }

const modelOf = (asked: Asked = {}) => scoredModel(runtime, { sequence: 40, tokenizer: endless, ...asked })

function schedulerOf(model: Model, streams: number, options: Partial<SchedulerOptions> = {}) {
  const contexts = new Contexts(runtime, model.config.model, model.store, { count: streams, detailed: true })
  const scheduler = new Scheduler(contexts, model.tokenizer, { queue: 20, ...options })
  onTestFinished(async () => {
    await scheduler.close(new Error('the test has ended'))
    contexts.release()
  })
  return { contexts, scheduler }
}

interface Wish extends Partial<Omit<TextRequest, 'prompt'>> {
  readonly text: string
}

async function requestOf({ tokenizer, config }: Model, { text, ...others }: Wish): Promise<TextRequest> {
  const prompt = await promptTokens(tokenizer, { prompt: text }, config.model.sequence)
  const sampling = { temperature: 0.9, topK: 40, topP: 0.95 }
  const plain = { tokens: 10, seed: 1, stop: [], top: null, ratesPrompt: false, routes: false }
  return { ...sampling, ...plain, ...others, prompt }
}

type End = Extract<TextEvent, { kind: 'end' }>

interface Read {
  text: string
  tokens: WrittenToken[]
  prompt: readonly RatedToken[]
  end: End | undefined
}

/** Reads the texts of an answer to their ends. */
async function readAll(answer: Answer, count = 1): Promise<Read[]> {
  const read = Array.from({ length: count }, (): Read => ({ text: '', tokens: [], prompt: [], end: undefined }))
  for await (const event of answer.events()) {
    const of = read[event.index] as Read
    if (event.kind === 'prompt') of.prompt = event.tokens
    else if (event.kind === 'end') of.end = event
    else {
      of.text += event.text
      of.tokens.push(...event.tokens)
    }
  }
  return read
}

const readOne = async (answer: Answer): Promise<Read> => (await readAll(answer))[0] as Read

/** The text that the generator of `choir generate` writes alone. */
async function alone(model: Model, { text, ...others }: Wish) {
  const { tokens, seed, stop, temperature, topK, topP } = await requestOf(model, { text, ...others })
  const pieces = continueText(model, { prompt: text, tokens, seed, stop, temperature, topK, topP })
  let whole = ''
  for (;;) {
    const { done, value } = await pieces.next()
    if (done) return { text: whole, reason: value.reason, tokens: value.tokens }
    whole += value
  }
}

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

test('the next tokens of all texts are computed together', async () => {
  const model = await modelOf()
  const { contexts, scheduler } = schedulerOf(model, 2)
  const together = contextsOfSteps(contexts)
  const long = readOne(scheduler.open([await requestOf(model, { text: 'a', tokens: 30, temperature: 0 })]))
  const short = readOne(scheduler.open([await requestOf(model, { text: 'b', tokens: 5, temperature: 0 })]))
  await Promise.all([long, short])
  const both = together.filter((places) => places.length === 2)
  expect(both).toEqual([
    [0, 1],
    [0, 1],
    [0, 1],
    [0, 1],
  ])
  expect(together.length).toBeLessThan(31)
})

/** The contexts of each step in which next tokens are computed, while it is watched. */
function contextsOfSteps(contexts: Contexts): number[][] {
  const steps: number[][] = []
  const computeTokens = contexts.computeTokens.bind(contexts)
  vi.spyOn(contexts, 'computeTokens').mockImplementation((texts, ...rest) => {
    steps.push(texts.map(({ context }) => context))
    return computeTokens(texts, ...rest)
  })
  return steps
}

describe('a prompt that another context has read', () => {
  const prompt = 'A prompt of more than 16 tokens'
  const moes: Record<string, Moe | null> = { 'top-2': { k: 2 }, hash: { router: 'hash' }, 'a dense model': null }
  test.each(Object.entries(moes))('is read once, and the texts are those that each is alone: %s', async (_, moe) => {
    const model = await modelOf({ moe })
    const reading = vi.spyOn(Prefill.prototype, 'run')
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
    const reading = vi.spyOn(Prefill.prototype, 'run')
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

test('a full queue refuses a request, and the place of a reader who leaves is free', async () => {
  const model = await modelOf()
  const { scheduler } = schedulerOf(model, 1, { queue: 1 })
  const request = await requestOf(model, { text: 'a', tokens: 100_000 })
  const first = scheduler.open([request])
  const events = first.events()
  await events.next()
  const second = scheduler.open([{ ...request, tokens: 4 }])
  expect(() => scheduler.open([request])).toThrow(QueueFull)
  expect([scheduler.active, scheduler.queued]).toEqual([1, 1])
  first.leave()
  expect((await readOne(second)).end).toBeDefined()
  // A reader who leaves while waiting is out of the queue at once.
  const [third, fourth] = [scheduler.open([request]), scheduler.open([request])]
  fourth.leave()
  expect(scheduler.queued).toBeLessThan(2)
  third.leave()
  expect((await events.next()).done).toBe(true)
})

test('a slow reader stops his own text only, which goes on when he reads, and is given up in the end', async () => {
  const model = await modelOf()
  const wish = { text: 'a', tokens: 200, seed: 3, temperature: 2, topK: 0, topP: 1 }
  const { contexts, scheduler } = schedulerOf(model, 2)
  const together = contextsOfSteps(contexts)
  // Every token is a part.
  const slow = scheduler.open([await requestOf(model, { ...wish, top: 0 })])
  await readOne(scheduler.open([await requestOf(model, { ...wish, tokens: 190 })]))
  const ofSlow = together.filter((places) => places.includes(0)).length
  expect(ofSlow).toBeGreaterThan(0)
  expect(ofSlow).toBeLessThanOrEqual(32)
  expect((await readOne(slow)).text).toBe((await alone(model, wish)).text)

  const impatient = schedulerOf(model, 1, { patienceMs: 1 })
  const unread = impatient.scheduler.open([await requestOf(model, { ...wish, top: 0 })])
  const next = impatient.scheduler.open([await requestOf(model, { ...wish, tokens: 1 })])
  expect((await readOne(next)).end).toBeDefined()
  await expect(readOne(unread)).rejects.toThrow('the parts of the text were not read in time')
})

test('a prompt that cannot be read ends with its error, and the others go on', async () => {
  const model = await modelOf()
  const { contexts, scheduler } = schedulerOf(model, 2)
  const compute = contexts.compute.bind(contexts)
  vi.spyOn(contexts, 'compute').mockImplementation((place, ...rest) => {
    if (place === 1) throw new Error('a kernel failed')
    return compute(place, ...rest)
  })
  const wish = { text: 'a', tokens: 12 }
  const good = readOne(scheduler.open([await requestOf(model, wish)]))
  const bad = readOne(scheduler.open([await requestOf(model, wish)]))
  await expect(bad).rejects.toThrow('a kernel failed')
  expect((await good).text).toBe((await alone(model, wish)).text)
})

test('texts whose step fails end with its error, and later ones are written', async () => {
  const model = await modelOf()
  const { contexts, scheduler } = schedulerOf(model, 2)
  vi.spyOn(contexts, 'computeTokens').mockImplementationOnce(() => Promise.reject(new Error('a kernel failed')))
  const wish = { text: 'a', tokens: 12 }
  await expect(readOne(scheduler.open([await requestOf(model, wish)]))).rejects.toThrow('a kernel failed')
  expect((await readOne(scheduler.open([await requestOf(model, wish)]))).text).toBe((await alone(model, wish)).text)
})

test('a request of many texts leaves places to others', async () => {
  const model = await modelOf()
  const { scheduler } = schedulerOf(model, 2)
  const request = await requestOf(model, { text: 'a', tokens: 6, temperature: 0 })
  const order: string[] = []
  const follow = async (name: string, answer: Answer) => {
    for await (const { kind, index } of answer.events()) if (kind === 'end') order.push(`${name}${index}`)
  }
  const many = follow('many ', scheduler.open(Array.from({ length: 5 }, () => request)))
  await Promise.all([many, follow('one ', scheduler.open([request]))])
  expect(order.indexOf('one 0')).toBeLessThan(order.indexOf('many 3'))
})

test('closing ends all texts with the reason', async () => {
  const model = await modelOf()
  const { scheduler } = schedulerOf(model, 1)
  const request = await requestOf(model, { text: 'a', tokens: 100_000 })
  const [running, waiting] = [readOne(scheduler.open([request])), readOne(scheduler.open([request]))]
  const refused = Promise.all([
    expect(running).rejects.toThrow('the server stops'),
    expect(waiting).rejects.toThrow('the server stops'),
  ])
  await scheduler.close(new Error('the server stops'))
  await refused
  await expect(readOne(scheduler.open([request]))).rejects.toThrow('has stopped')
})
