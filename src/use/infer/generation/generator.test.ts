/**
 * Compares generation from cached keys and values with the loop-by-loop witness, which has no cache and
 * computes the whole context for every token.
 *
 * @slow
 */

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { attentionSettings } from '../../../../test/support/attention-settings.ts'
import { routedOf } from '../../../../test/support/routed.ts'
import { type CaseOverrides, randomCase } from '../../../../test/witness/generate.ts'
import { type Parameters, type Routed, witnessForward } from '../../../../test/witness/model.ts'
import { sizeOf } from '../../../core/graph/shape.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { cacheName } from '../../../core/model/kv-cache.ts'
import { parameterSpecs, routedModules } from '../../../core/model/parameters.ts'
import { hashTableOf } from '../../../core/model/routing/hash.ts'
import { drawDistinct, randomFor } from '../../../core/random.ts'
import { type ArenaRange, floatsOf } from '../../../engine/contract/arena.ts'
import type { Runtime } from '../../../engine/contract/runtime.ts'
import { createRuntime } from '../../../engine/cpu/cpu-runtime.ts'
import { cpuMemory } from '../../../engine/testing/cpu-memory.ts'
import { createDeviceRuntime } from '../../../engine/webgpu/runtime.ts'
import { testDevice } from '../../../engine/webgpu/testing/run-kernel.ts'
import { generationConfig } from '../../../train/step/evaluation/capacity-rules.ts'
import { moduleLabels } from '../../../train/step/passes/pass.ts'
import { BESIDE_BYTES, paddedFloats } from '../../../train/step/store/bank.ts'
import { ParameterStore } from '../../../train/step/store/store.ts'
import { Generator } from './generator.ts'
import { PredeterminedExperts } from './predetermined-experts.ts'
import { Prefill } from './prefill.ts'
import { BLOCK, blocksOf } from './prompt-blocks.ts'
import { TokenDecoder } from './token-decoder.ts'
import { tokenScratch, wholeContexts } from './token-memory.ts'
import { TokenProgram } from './token-program.ts'

const runtime = await createRuntime({ threads: 1 })
afterAll(() => runtime.close())

const greedy = { temperature: 0, topK: 0, topP: 1 }
const SEED = 5

interface Model {
  readonly config: ModelConfig
  readonly parameters: Parameters
  readonly store: ParameterStore
}

function modelOf(seed: number, { model, moe }: CaseOverrides, place: Place = places[0]): Model {
  const capacity = moe?.router === 'expert-choice' ? ('kx' as const) : ('none' as const)
  const dropless = moe && { capacity, groups: 1, ...moe }
  const drawn = randomCase(seed, {
    model: { sequence: 20, ...model },
    ...(moe !== undefined && { moe: dropless ?? null }),
  })
  const specs = parameterSpecs(drawn.config)
  const scratch = tokenScratch(drawn.config)
  // The largest tensor fits beside the scratch memory, and all tensors do not.
  const largest = Math.max(...specs.map(({ shape }) => paddedFloats(sizeOf(shape))))
  const most = BESIDE_BYTES + 4 * (paddedFloats(scratch) + largest)
  const memory = place === places[2] ? { ...cpuMemory, maxArenaBytes: most } : cpuMemory
  const store = new ParameterStore(memory, specs, null, scratch)
  if (place === places[2]) expect(store.beside.length).toBeGreaterThan(1)
  const parameters = new Map<string, { shape: readonly number[]; data: Float64Array }>()
  for (const { name } of store.specs) {
    const given = drawn.parameters.get(name.replace('.{e}', ''))
    if (!given) throw new Error(`no ${name}`)
    floatsOf(store.parameter(name)).set(given.data)
    parameters.set(name.replace('.{e}', ''), {
      shape: given.shape,
      data: Float64Array.from(floatsOf(store.parameter(name))),
    })
  }
  return { config: generationConfig(drawn.config), parameters, store }
}

/** Logits [V] after each of the tokens; the first token is number `offset` of its text. */
function witnessLogits({ config, parameters }: Model, text: readonly number[], offset = 0): Float64Array[] {
  const { moe, layers, vocabulary } = config
  const choices = new Map<Routed, Int32Array>()
  if (moe && (moe.router === 'hash' || moe.router === 'random'))
    for (let layer = 0; layer < layers; layer++)
      for (const module of routedModules(config, layer)) {
        const table = hashTableOf(config, layer, module)
        const rows = text.flatMap((token, t) => {
          if (moe.router === 'hash') return [...table.subarray(token * moe.k, (token + 1) * moe.k)]
          const drawn = new Int32Array(moe.k)
          const labels = [offset + t, ...moduleLabels(layer, module)]
          drawDistinct(drawn, moe.k, moe.experts, randomFor(SEED, 'generate', 'routing', ...labels))
          return [...drawn]
        })
        choices.set(routedOf({ layer, module }), Int32Array.from(rows))
      }
  const tokens = Int32Array.from(text)
  const { logits } = witnessForward({
    config,
    parameters,
    tokens,
    targets: tokens,
    batch: 1,
    training: false,
    ...(choices.size > 0 && { choices }),
  })
  return text.map((_, t) => logits.subarray(t * vocabulary, (t + 1) * vocabulary))
}

function expectClose(actual: Float32Array, expected: Float64Array, where: string): void {
  const furthest = Math.max(...actual.map((value, i) => Math.abs(value - (expected[i] as number))))
  expect(furthest, where).toBeLessThan(1e-4)
}

function randomText({ config }: Model, length: number): number[] {
  const random = randomFor(SEED, 'text')
  return Array.from({ length }, () => random.integer(config.vocabulary))
}

/** Places of the memory of a token's program. */
const places = [
  'the arena of the parameters',
  'an arena of its own',
  'an arena beside several of the parameters',
] as const
type Place = (typeof places)[number]

/** Logits after a prompt of `prompt` tokens, read in blocks, and after each later token, decoded one at a time. */
async function cachedLogits(
  { config, store }: Model,
  text: readonly number[],
  prompt: number,
  place: Place,
  { on = runtime, block = BLOCK }: { readonly on?: Runtime; readonly block?: number } = {},
): Promise<Float32Array[]> {
  // Another text has the memory in the store.
  const program = new TokenProgram(on, config, store)
  const one = wholeContexts(config, 1)
  const other = place === 'an arena of its own' ? TokenDecoder.open(program, one) : null
  const decoder = TokenDecoder.open(program, one)
  if (!decoder) throw new Error('no memory for a token')
  const { cache } = decoder
  const pages = Array.from({ length: cache.pages }, (_, page) => page).reverse()
  const { arena } = cache.table(cacheName(0, 'keys')) as ArenaRange
  const isInStore = store.specs.some(({ name }) => store.parameter(name).arena === arena)
  expect(isInStore, place).toBe(place === 'the arena of the parameters')
  const experts = new PredeterminedExperts(config, SEED)
  const prefill = new Prefill(on, config, store, { cached: true })
  let logits: Float32Array = new Float32Array()
  for (const each of blocksOf(prompt, 0, config.sequence, block))
    logits = await prefill.runBlock(text.slice(0, prompt), experts, each, { cache, pages })
  const found = [logits.slice()]
  for (let at = prompt; at < text.length; at++) {
    const next = { pages, token: text[at] as number, position: at, experts }
    await decoder.step([next], (_, { logits }) => found.push(logits.slice()))
  }
  prefill.release()
  decoder.release()
  other?.release()
  program.release()
  return found
}

/** A text beyond the positions of the smallest program, and its logits by the witness, which take a second. */
const long: { readonly length: number; expected?: Float64Array[] } = { length: 262 }

const routers: Record<string, NonNullable<CaseOverrides['moe']>> = {
  'top-1': { router: 'top-k', k: 1, experts: 4 },
  'top-2': { router: 'top-k', k: 2, experts: 4, softmax: 'before', renormalize: false },
  'top-3 softmax after': { router: 'top-k', k: 3, experts: 5, softmax: 'after' },
  'top-2 renormalised': { router: 'top-k', k: 2, experts: 4, softmax: 'before', renormalize: true },
  switch: { router: 'switch', k: 1, experts: 3 },
  '2 top-1': { router: 'prototype', prototypes: 2, k: 1, experts: 6 },
  '2 top-2': { router: 'prototype', prototypes: 2, k: 2, experts: 6 },
  'top-2 sequential': { router: 'top-k', k: 2, experts: 4, selection: 'sequential' },
  sinkhorn: { router: 'sinkhorn', k: 2, experts: 4 },
  bias: { router: 'bias', k: 2, experts: 4, softmax: 'before' },
  'bias, softmax after': { router: 'bias', k: 1, experts: 4, softmax: 'after' },
  'sigmoid, top-2 sequential': { router: 'top-k', k: 2, experts: 4, scores: 'sigmoid', selection: 'sequential' },
  '2 top-2 sigmoid renormalised': {
    ...{ router: 'prototype', prototypes: 2, k: 2, experts: 6 },
    ...{ scores: 'sigmoid', renormalize: true, routedScale: 1.5 },
  },
  'top-2 of a group (DeepSeek-V2)': { router: 'top-k', k: 2, experts: 6, expertGroups: 3, routedScale: 1.5 },
  'top-2 of two groups (DeepSeek-V3)': {
    ...{ router: 'bias', k: 2, experts: 6, scores: 'sigmoid', renormalize: true },
    ...{ expertGroups: 3, groupsPerToken: 2, groupScore: 'top-2', routedScale: 2.5 },
  },
  'expert-choice': { router: 'expert-choice', k: 2, experts: 4 },
  hash: { router: 'hash', k: 2, experts: 4, routedScale: 0.7 },
  random: { router: 'random', k: 2, experts: 4 },
}

const architectures: Record<string, CaseOverrides> = {
  'rotary, RMS norm, GELU, tied': { model: { positions: 'rotary', norm: 'rms', activation: 'gelu', tied: true } },
  'learned, layer norm, SwiGLU, untied': {
    model: { positions: 'learned', norm: 'layer', activation: 'swiglu', tied: false },
  },
  'a shared expert': { moe: { sharedHidden: 3, every: 1 } },
  'a shared expert with a gate': { moe: { sharedHidden: 3, sharedGate: true, every: 1 } },
  'a dense layer before sparse ones': { model: { layers: 3 }, moe: { from: 1 } },
  'dense layers between, the last one sparse': { model: { layers: 4 }, moe: { every: 2 } },
  'dense layers between, the last one dense': { model: { layers: 3 }, moe: { every: 2 } },
}

describe.each(places)('with a cache in %s the logits equal the logits of the whole context for', (by) => {
  // Each router runs with three architectures in each place, of which most are others than in the other places. So each architecture runs
  // with many routers.
  for (const [r, [router, moe]] of Object.entries(routers).entries())
    test(router, async () => {
      const names = Object.keys(architectures)
      // Two of the prompts are padded, and one fills its program.
      for (const [nth, prompts] of [[3, 16], [17], [16]].entries()) {
        const i = (r + 2 * nth + places.indexOf(by)) % names.length
        const architecture = names[i] as string
        const overrides = architectures[architecture] as CaseOverrides
        const model = modelOf(i + 1, { ...overrides, moe: { ...overrides.moe, ...moe } }, by)
        const text = randomText(model, model.config.sequence)
        const expected = witnessLogits(model, text)
        // One block, and blocks of which one serves two positions.
        for (const prompt of prompts)
          for (const block of prompt > 16 ? [BLOCK, 4] : [BLOCK]) {
            const found = await cachedLogits(model, text, prompt, by, { block })
            for (const [t, logits] of found.entries())
              expectClose(logits, expected[prompt - 1 + t] as Float64Array, `${architecture}, ${prompt} + ${t}`)
          }
      }
    })

  async function compareDense(settings: CaseOverrides['model'], where: string, prompts = [1], block = BLOCK) {
    const model = modelOf(3, { model: settings ?? {}, moe: null }, by)
    const text = randomText(model, 20)
    const expected = witnessLogits(model, text)
    for (const prompt of prompts)
      for (const [t, logits] of (await cachedLogits(model, text, prompt, by, { block })).entries())
        expectClose(logits, expected[prompt - 1 + t] as Float64Array, `${where}, ${prompt} + ${t}`)
  }

  test('a dense model', () => compareDense({}, 'dense'))

  test.each(Object.entries(attentionSettings))('attention: %s', async (name, settings) => {
    await compareDense(settings, name, [1, 7])
    await compareDense(settings, name, [15], 3)
  })

  test('a scaled branch of experts and of a shared expert', async () => {
    for (const router of ['top-2', 'hash']) {
      const moe = { ...routers[router], sharedHidden: 3, every: 1 }
      const model = modelOf(2, { model: { residualScale: 0.22, positions: 'learned' }, moe }, by)
      const text = randomText(model, 20)
      const expected = witnessLogits(model, text)
      for (const [t, logits] of (await cachedLogits(model, text, 1, by)).entries())
        expectClose(logits, expected[t] as Float64Array, `${router}, token ${t}`)
    }
  })

  test('a text beyond the positions of the smallest program', async () => {
    const shape = { ...attentionSettings['all at once'], sequence: long.length }
    const model = modelOf(4, { model: shape, moe: routers['top-2'] ?? {} }, by)
    const text = randomText(model, long.length)
    long.expected ??= witnessLogits(model, text)
    for (const [t, logits] of (await cachedLogits(model, text, 250, by)).entries())
      expectClose(logits, long.expected[249 + t] as Float64Array, `token ${t}`)
  })
})

describe.skipIf(testDevice === null)('with a cache on WebGPU the logits equal the logits of the context for', () => {
  let gpu: Runtime
  beforeAll(() => {
    gpu = createDeviceRuntime(testDevice as NonNullable<typeof testDevice>)
  })
  afterAll(() => gpu.close())

  // Both cases have the same shape, so that they have most shaders in common.
  test.each(['head', 'width'] as const)('all settings at once, norms: %s', { timeout: 300_000 }, async (norms) => {
    const settings = { ...attentionSettings['all at once'], queryKeyNorm: norms }
    const { config, parameters, store } = modelOf(3, { model: settings, moe: null })
    const model = { config, parameters, store: new ParameterStore(gpu, store.specs, null, tokenScratch(config)) }
    for (const spec of store.specs) {
      const to = model.store.parameter(spec.name)
      await to.arena.write(to.start, floatsOf(store.parameter(spec.name)))
    }
    const text = randomText(model, 20)
    const expected = witnessLogits(model, text)
    for (const [t, logits] of (await cachedLogits(model, text, 7, places[0], { on: gpu })).entries())
      expectClose(logits, expected[6 + t] as Float64Array, `token ${t}`)
  })
})

async function take(tokens: AsyncGenerator<number, never>, count: number): Promise<number[]> {
  const taken: number[] = []
  for await (const token of tokens) if (taken.push(token) === count) break
  return taken
}

describe('generating', () => {
  const kinds = [
    { positions: 'rotary', attention: 'none' },
    { positions: 'learned', attention: 'none' },
    { positions: 'rotary', attention: 'qkv' },
    { positions: 'learned', attention: 'all' },
  ] as const
  for (const [i, { positions, attention }] of kinds.entries())
    for (const router of ['top-2', 'hash', 'random'].filter((_, r) => (r + i) % 3 < 2))
      test(`greedy text has the most probable tokens, beyond the context length too: ${positions}, ${router}, experts in attention: ${attention}`, async () => {
        const model = modelOf(6, { model: { positions, sequence: 36 }, moe: { ...routers[router], attention } })
        const { vocabulary, sequence } = model.config
        const generator = new Generator(runtime, model.config, model.store)
        for (const length of [1, 16, 17, 36, 50]) {
          const prompt = randomText(model, length)
          const tokens = await take(generator.tokens(prompt, vocabulary, greedy, SEED), 45)
          let context = prompt.slice(-sequence)
          for (let done = 0; done < tokens.length; ) {
            const predicted = tokens.slice(done, done + sequence - context.length + 1)
            const text = [...context, ...predicted]
            const logits = witnessLogits(model, text.slice(0, -1), length + done - context.length)
            for (const [i, token] of predicted.entries()) {
              const after = logits[context.length - 1 + i] as Float64Array
              expect(after[token], `${length} + ${done + i}`).toBeGreaterThan(Math.max(...after) - 1e-4)
            }
            done += predicted.length
            // A full context continues from its newer half, which includes the new token.
            context = text.slice(-18)
          }
        }
        generator.release()
      })

  test('a kept token begins every context: of a long prompt, and when the context is full', async () => {
    const model = modelOf(6, { model: { positions: 'rotary', sequence: 12 }, moe: routers['top-2'] ?? {} })
    const { vocabulary, sequence } = model.config
    const generator = new Generator(runtime, model.config, model.store)
    for (const length of [5, 12, 30]) {
      const prompt = randomText(model, length)
      const begin = prompt[0] as number
      const tokens = await take(generator.tokens(prompt, vocabulary, greedy, SEED, 1), 25)
      let context = length > sequence ? [begin, ...prompt.slice(1 - sequence)] : prompt
      for (const [i, token] of tokens.entries()) {
        const after = witnessLogits(model, context).at(-1) as Float64Array
        expect(after[token], `${length} + ${i}`).toBeGreaterThan(Math.max(...after) - 1e-4)
        context =
          context.length < sequence ? [...context, token] : [begin, ...[...context, token].slice(1 - sequence / 2)]
      }
    }
    generator.release()
  })

  test('the same seed gives the same text, another seed another text', async () => {
    const model = modelOf(7, { moe: routers.random ?? {} })
    const wild = { temperature: 2, topK: 0, topP: 1 }
    const generator = new Generator(runtime, model.config, model.store)
    const text = (seed: number) => take(generator.tokens([1], model.config.vocabulary, wild, seed), 40)
    const first = await text(1)
    expect(await text(1)).toEqual(first)
    expect(await text(2)).not.toEqual(first)
    generator.release()
  })

  test('an abandoned text can be followed by another, but two at once are refused', async () => {
    const model = modelOf(8, { moe: routers['top-1'] ?? {} })
    const generator = new Generator(runtime, model.config, model.store)
    const tokens = () => generator.tokens([1, 2], model.config.vocabulary, greedy, SEED)
    const left = tokens()
    await left.next()
    await expect(tokens().next()).rejects.toThrow('internal: a generator handles one text at a time')
    await left.return(undefined as never)
    expect(await take(tokens(), 3)).toHaveLength(3)
    generator.release()
  })

  test('the event loop runs between tokens', async () => {
    const model = modelOf(9, { moe: routers['top-1'] ?? {} })
    const generator = new Generator(runtime, model.config, model.store)
    let turns = 0
    const timer = setInterval(() => turns++, 0)
    await take(generator.tokens([1], model.config.vocabulary, greedy, SEED), 60)
    clearInterval(timer)
    expect(turns).toBeGreaterThan(3)
    generator.release()
  })
})
