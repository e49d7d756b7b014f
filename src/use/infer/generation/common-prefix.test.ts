/**
 * Texts whose prompts begin alike: what is reused has the bits of what is computed again.
 *
 * @slow
 */
import { afterAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { type CaseOverrides, randomCase } from '../../../../test/witness/generate.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { parameterSpecs } from '../../../core/model/parameters.ts'
import { randomFor } from '../../../core/random.ts'
import type { Runtime } from '../../../engine/contract/runtime.ts'
import { createRuntime } from '../../../engine/cpu/cpu-runtime.ts'
import { machineBytes } from '../../../engine/native/cpu-arena.ts'
import { createDeviceRuntime } from '../../../engine/webgpu/runtime.ts'
import { testDevice } from '../../../engine/webgpu/testing/run-kernel.ts'
import { generationConfig } from '../../../train/step/evaluation/capacity-rules.ts'
import type { ModelStore } from '../../../train/step/store/model-store.ts'
import { ParameterStore } from '../../../train/step/store/store.ts'
import { QuantizedStore } from '../quantized/quantized-store.ts'
import { Contexts } from './contexts.ts'
import { sizeOfTexts } from './open-decoders.ts'
import { Prefill } from './prefill.ts'
import { BLOCK } from './prompt-blocks.ts'
import { TextState } from './text-state.ts'
import { scratchOfTexts } from './token-memory.ts'

const cpu = await createRuntime({ threads: 2 })
afterAll(() => cpu.close())

const seed = Number(process.env.CHOIR_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31))

const COUNT = 3
/** So many pages that no prompt is dropped. */
const PLENTY = 20 * 2 ** 20
/** Two full blocks, and a last one with fewer positions. */
const SEQUENCE = 2 * BLOCK + 40
const small = { layers: 2, width: 16, heads: 2, vocabulary: 50, sequence: SEQUENCE } as const
const moe = { experts: 4, hidden: 16, k: 2, capacity: 'none', groups: 1 } as const

async function modelOf({ model, moe = null }: CaseOverrides, bits?: 'int8' | 'int4', runtime: Runtime = cpu) {
  const config = generationConfig(randomCase(4, { model: { ...small, ...model }, moe }).config)
  // A device has no other memory for texts: this is enough for two of the contexts that a test opens.
  const scratch = 2 * scratchOfTexts(config, sizeOfTexts(config, COUNT, PLENTY))
  const store = bits
    ? new QuantizedStore(runtime, config, bits, scratch)
    : new ParameterStore(runtime, parameterSpecs(config), null, scratch)
  const random = randomFor(5, 'weights')
  const ranges =
    store instanceof QuantizedStore
      ? [...store.tensors()].map(({ range }) => range)
      : store.specs.map(({ name }) => store.parameter(name))
  for (const { arena, start, count } of ranges)
    await arena.write(
      start,
      Float32Array.from({ length: count }, () => 0.6 * random.uniform() - 0.3),
    )
  return { config, store }
}

function textOf({ vocabulary }: ModelConfig, contexts: Contexts, prompt: readonly number[], seed: number): TextState {
  const sampling = { temperature: 1, topK: 0, topP: 1 }
  return new TextState(contexts.config, { prompt, vocabulary, sampling, seed, kept: 0, schemaText: null })
}

/** The logits after a prompt and after each of the next tokens, and the number of tokens of the prompt that were reused. */
async function written(contexts: Contexts, place: number, text: TextState, tokens: number, reuses: boolean) {
  const found: number[][] = []
  let reused = 0
  const onReused = (tokens: number) => {
    reused = tokens
  }
  // A text whose prompt is rated computes all of its tokens.
  const options = reuses ? { onReused } : { onLogits: () => {} }
  for (let token = 0; token <= tokens; token++) {
    const logits = await contexts.compute(place, text, token === 0 ? options : {})
    found.push([...logits])
    text.next(logits)
  }
  return { logits: found, reused }
}

const open = (
  config: ModelConfig,
  store: ModelStore,
  count: number,
  contextBytes?: number,
  on: Runtime = cpu,
): Contexts => {
  const contexts = new Contexts(on, config, store, { count, contextBytes, detailed: true })
  onTestFinished(() => contexts.release())
  return contexts
}

describe('a text has the same bits whatever was read before, and only new blocks are computed:', () => {
  const models: Record<string, [CaseOverrides, ('int8' | 'int4')?]> = {
    'a dense model': [{ model: { positions: 'learned', keyValueHeads: 1 } }],
    'top-2, a window': [{ model: { positions: 'rotary', window: 150 }, moe: { ...moe, router: 'top-k' } }],
    prototypes: [{ moe: { ...moe, router: 'prototype', prototypes: 2, k: 1 } }],
    hash: [{ moe: { ...moe, router: 'hash' } }],
    random: [{ moe: { ...moe, router: 'random' } }],
    'int8, top-2': [{ moe: { ...moe, router: 'top-k' } }, 'int8'],
    'int4, dense': [{}, 'int4'],
  }
  test.each(Object.entries(models))('%s', { timeout: 600_000 }, async (name, [overrides, bits]) => {
    const { config, store } = await modelOf(overrides, bits)
    const contexts = open(config, store, COUNT, PLENTY)
    const alone = open(config, store, 1)
    const random = randomFor(seed, name)
    const tokens = (count: number) => Array.from({ length: count }, () => random.integer(config.vocabulary))
    const beginnings = [tokens(BLOCK), tokens(2 * BLOCK), tokens(BLOCK + 40)]
    const read: (readonly number[])[] = []
    let total = 0
    for (let round = 0; round < 6; round++) {
      const where = `CHOIR_TEST_SEED=${seed}, round ${round}`
      const beginning = beginnings[random.integer(3)] as number[]
      const length = 1 + random.integer(beginning.length)
      const prompt = [
        ...(random.integer(4) === 0 ? beginning.slice(0, length) : beginning),
        ...tokens(random.integer(30)),
      ]
      const place = random.integer(COUNT)
      // Some texts go beyond the end of the context, where its newer half is read again: mostly those that are near it.
      const isNear = prompt.length > 2 * BLOCK
      const more = random.integer(isNear ? 2 : 24) === 0 ? SEQUENCE - prompt.length + 3 : 2
      const expected = await written(alone, 0, textOf(config, contexts, prompt, round), more, false)
      const found = await written(contexts, place, textOf(config, contexts, prompt, round), more, true)
      expect(found.logits, where).toEqual(expected.logits)
      const isAgain = read.some((other) => other.length === prompt.length && commonOf(other, prompt) === prompt.length)
      const most = Math.max(0, ...read.map((other) => commonOf(other, prompt.slice(0, -1))))
      const known = isAgain ? prompt.length : most - (most % BLOCK)
      expect(found.reused, where).toBe(config.moe?.router === 'random' || prompt.length <= 16 ? 0 : known)
      total += found.reused
      // A short prompt is read token by token.
      if (prompt.length > 16) read.push(prompt)
    }
    if (config.moe?.router === 'random') expect(total).toBe(0)
  })
})

/** Number of tokens with which both begin. */
function commonOf(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((token, i) => token !== b[i])
  return at < 0 ? a.length : at
}

test('a prompt after one with the same beginning is computed from the first block on in which it differs', async () => {
  const { config, store } = await modelOf({ moe: { ...moe, router: 'top-k' } })
  const contexts = open(config, store, COUNT, PLENTY)
  const random = randomFor(seed, 'computed')
  const tokens = (count: number) => Array.from({ length: count }, () => random.integer(config.vocabulary))
  const system = tokens(2 * BLOCK + 5)
  const running = vi.spyOn(Prefill.prototype, 'runBlock')
  onTestFinished(() => running.mockRestore())
  const blocks = async (place: number, prompt: readonly number[]) => {
    running.mockClear()
    await written(contexts, place, textOf(config, contexts, prompt, 1), 0, true)
    return running.mock.calls.map(([, , { from, count }]) => [from, count])
  }
  const [a, b] = [tokens(9), tokens(20)]
  const first = [
    [0, BLOCK],
    [BLOCK, BLOCK],
  ]
  expect(await blocks(0, [...system, ...a])).toEqual([...first, [2 * BLOCK, 14]])
  expect(await blocks(1, [...system, ...b])).toEqual([[2 * BLOCK, 25]])
  expect(await blocks(1, [...system, ...a])).toEqual([])
  expect(await blocks(1, [...system.slice(0, BLOCK), ...b])).toEqual([[BLOCK, 20]])
  expect(await blocks(0, tokens(BLOCK + 1))).toEqual([
    [0, BLOCK],
    [BLOCK, 1],
  ])
  // It is known whatever its context has read since, and in another context.
  expect(await blocks(2, [...system, ...a])).toEqual([])
})

describe('few pages', () => {
  /** Bytes of a page of the small model: keys and values of 64 positions of 16 columns in two layers. */
  const PAGE_BYTES = 2 * 2 * 64 * 16 * 4
  const whole = Math.ceil(SEQUENCE / 64)

  test('texts have the same bits when prompts are dropped for others, and no page is lost', async () => {
    const { config, store } = await modelOf({ moe: { ...moe, router: 'top-k' } })
    const contexts = open(config, store, COUNT, (whole + 5) * PAGE_BYTES)
    const alone = open(config, store, 1)
    const random = randomFor(seed, 'few pages')
    const tokens = (count: number) => Array.from({ length: count }, () => random.integer(config.vocabulary))
    const beginnings = [tokens(BLOCK), tokens(2 * BLOCK), tokens(30)]
    let reused = 0
    for (let round = 0; round < 12; round++) {
      const where = `CHOIR_TEST_SEED=${seed}, round ${round}`
      // Two texts in a row begin with the same block, so that it is found whatever is drawn.
      const which = round % 4 < 2 ? 0 : random.integer(3)
      const prompt = [...(beginnings[which] as number[]), ...tokens(random.integer(30))]
      const place = random.integer(COUNT)
      const expected = await written(alone, 0, textOf(config, contexts, prompt, round), 3, false)
      const found = await written(contexts, place, textOf(config, contexts, prompt, round), 3, true)
      expect(found.logits, where).toEqual(expected.logits)
      reused += found.reused
      contexts.leave(place)
      const { all, inUse, kept } = contexts.pages
      expect([all, inUse], where).toEqual([whole + 5, 0])
      expect(kept, where).toBeLessThanOrEqual(all)
    }
    expect(reused).toBeGreaterThan(0)
  })

  test('texts share the pages of a common beginning, and a text without pages cannot be read', async () => {
    const { config, store } = await modelOf({})
    const contexts = open(config, store, COUNT, (whole + 4) * PAGE_BYTES)
    const random = randomFor(seed, 'shared')
    const prompt = Array.from({ length: 2 * BLOCK + 5 }, () => random.integer(config.vocabulary))
    const start = { vocabulary: config.vocabulary, sampling: { temperature: 0, topK: 0, topP: 1 }, seed: 1 }
    const text = (prompt: readonly number[], most: number) =>
      new TextState(config, { ...start, ...{ prompt, most, kept: 0 as const, schemaText: null } })
    // The prompt has 16 whole pages and 5 positions of the next one, where its text goes on.
    await contexts.compute(0, text(prompt, 30))
    expect(contexts.pages).toEqual({ all: whole + 4, inUse: 17, kept: 0 })
    expect(contexts.canRead(1, text(prompt, 30), false)).toBe(true)
    await contexts.compute(1, text(prompt, 30))
    expect(contexts.pages.inUse).toBe(18)
    // A text that may use its whole context, of which the same 16 pages are known, and one of which none is.
    expect(contexts.canRead(2, text(prompt, SEQUENCE), false)).toBe(true)
    const other = prompt.map((token) => (token + 1) % config.vocabulary)
    expect(contexts.canRead(2, text(other.slice(0, 3 * 64), 0), false)).toBe(true)
    expect(contexts.canRead(2, text(other.slice(0, 3 * 64), 1), false)).toBe(false)
    // If its experts are asked for, nothing of the prompt can be shared.
    expect(contexts.canRead(2, text(prompt, 0), true)).toBe(false)
    contexts.leave(0)
    expect(contexts.pages).toEqual({ all: whole + 4, inUse: 17, kept: 1 })
    contexts.leave(1)
    expect(contexts.pages).toEqual({ all: whole + 4, inUse: 0, kept: 17 })
    expect(contexts.canRead(2, text(other, SEQUENCE), false)).toBe(true)
  })

  test.skipIf(machineBytes() < 8e9)('more memory than an arena has leaves whole contexts', async () => {
    const { config, store } = await modelOf({})
    expect(open(config, store, 1, 5e9).pages.all).toBe(whole)
  })

  test('less memory than a whole context is refused', async () => {
    const { config, store } = await modelOf({})
    expect(() => open(config, store, COUNT, whole * PAGE_BYTES - 1)).toThrow(
      'invalid contextMemory: 279 kB (expected at least 279 kB, for a whole context of 1,064 tokens)',
    )
  })
})

test.skipIf(testDevice === null)('on a GPU blocks are shared too', { timeout: 300_000 }, async () => {
  const gpu = createDeviceRuntime(testDevice as NonNullable<typeof testDevice>)
  const { config, store } = await modelOf({ moe: { ...moe, router: 'top-k' } }, undefined, gpu)
  const [contexts, alone] = [open(config, store, 2, PLENTY, gpu), open(config, store, 1, undefined, gpu)]
  const random = randomFor(seed, 'GPU')
  const tokens = (count: number) => Array.from({ length: count }, () => random.integer(config.vocabulary))
  const system = tokens(BLOCK)
  for (const [round, [place, expectedTokens]] of (
    [
      [0, 0],
      [1, BLOCK],
    ] as const
  ).entries()) {
    const prompt = [...system, ...tokens(30)]
    const expected = await written(alone, 0, textOf(config, contexts, prompt, round), 2, false)
    const found = await written(contexts, place, textOf(config, contexts, prompt, round), 2, true)
    expect(found.logits).toEqual(expected.logits)
    expect(found.reused).toBe(expectedTokens)
  }
})
