/**
 * Places, the queue, readers and failures of texts that are written together.
 *
 * @slow
 */
import { expect, onTestFinished, test, vi } from 'vitest'
import type { Contexts } from '../generation/contexts.ts'
import { Prefill } from '../generation/prefill.ts'
import { BLOCK } from '../generation/prompt-blocks.ts'
import type { Answer } from './answer.ts'
import { QueueFull } from './scheduler.ts'
import { alone, modelOf, readOne, requestOf, schedulerOf } from './testing/scheduled-texts.ts'

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

test('the others go on between two blocks of a long prompt', async () => {
  const model = await modelOf({ sequence: 2 * BLOCK + 40 })
  const { contexts, scheduler } = schedulerOf(model, 2)
  const order: string[] = []
  const runBlock = Prefill.prototype.runBlock
  const reading = vi.spyOn(Prefill.prototype, 'runBlock').mockImplementation(function (this: Prefill, ...args) {
    order.push(`block ${args[2].from / BLOCK}`)
    return runBlock.apply(this, args)
  })
  onTestFinished(() => reading.mockRestore())
  const computeTokens = contexts.computeTokens.bind(contexts)
  vi.spyOn(contexts, 'computeTokens').mockImplementation((...args) => {
    order.push('token')
    return computeTokens(...args)
  })
  const wish = { text: 'x'.repeat(2 * BLOCK + 20), tokens: 3 }
  const short = readOne(scheduler.open([await requestOf(model, { text: 'a', tokens: 30 })]))
  const long = readOne(scheduler.open([await requestOf(model, wish)]))
  await Promise.all([short, long])
  const blocks = order.slice(order.indexOf('block 0'), order.indexOf('block 2') + 1)
  expect(blocks).toEqual(['block 0', 'token', 'block 1', 'token', 'block 2'])
  expect((await long).text).toBe((await alone(model, wish)).text)
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
  const compute = contexts.computePart.bind(contexts)
  vi.spyOn(contexts, 'computePart').mockImplementation((place, ...rest) => {
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
