/**
 * The next tokens of several texts, computed at once, compared bit for bit with each text alone.
 *
 * @slow
 */
import { afterAll, describe, expect, test } from 'vitest'
import { type CaseOverrides, randomCase } from '../../../../test/witness/generate.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { pagesFor } from '../../../core/model/kv-cache.ts'
import { parameterSpecs } from '../../../core/model/parameters.ts'
import { randomFor } from '../../../core/random.ts'
import type { Runtime } from '../../../engine/contract/runtime.ts'
import { createRuntime } from '../../../engine/cpu/cpu-runtime.ts'
import { createDeviceRuntime } from '../../../engine/webgpu/runtime.ts'
import { testDevice } from '../../../engine/webgpu/testing/run-kernel.ts'
import { generationConfig } from '../../../train/step/evaluation/capacity-rules.ts'
import type { ModelStore } from '../../../train/step/store/model-store.ts'
import { ParameterStore } from '../../../train/step/store/store.ts'
import { QuantizedStore } from '../quantized/quantized-store.ts'
import type { QuantizedFormat } from '../quantized/weight-format.ts'
import { PredeterminedExperts } from './predetermined-experts.ts'
import { TokenDecoder } from './token-decoder.ts'
import { scratchOfTexts, wholeContexts } from './token-memory.ts'
import { TokenProgram } from './token-program.ts'

const runtime = await createRuntime({ threads: 2 })
afterAll(() => runtime.close())

/** Wide enough that products have several parts, and matrices several tiles and pieces. */
const wide = { layers: 2, width: 288, heads: 6, vocabulary: 700, sequence: 12, activation: 'swiglu' } as const
/** A text has three pages. */
const paged = { sequence: 150 } as const
const moe = { experts: 4, hidden: 600, k: 2, capacity: 'none', groups: 1 } as const
const kinds: Record<string, CaseOverrides> = {
  dense: { model: { ...wide, hidden: 600, activation: 'gelu', positions: 'learned' }, moe: null },
  'top-2, shared keys, a window': { model: { ...wide, keyValueHeads: 2, window: 5 }, moe: { ...moe, router: 'top-k' } },
  'two prototypes, a gated shared expert': {
    model: { ...wide, activation: 'gelu' },
    moe: { ...moe, router: 'prototype', k: 1, prototypes: 2, sharedHidden: 40, sharedGate: true },
  },
  'norms of queries and keys, a scaled branch': {
    model: { ...wide, queryKeyNorm: 'head', residualScale: 0.5 },
    moe: { ...moe, router: 'top-k' },
  },
  'texts of three pages': { model: { ...wide, ...paged, keyValueHeads: 2 }, moe: { ...moe, router: 'top-k' } },
  'random experts': { model: wide, moe: { ...moe, router: 'random' } },
}

interface Text {
  readonly ids: readonly number[]
  readonly seed: number
}

/** Texts of different lengths: some begin when others are at their ends. */
const textsOf = ({ vocabulary, sequence }: ModelConfig): Text[] =>
  Array.from({ length: 7 }, (_, text) => ({
    ids: Array.from({ length: 3 + ((5 * text) % (sequence - 2)) }, (_, t) => (97 * text + 31 * t + 5) % vocabulary),
    seed: text,
  }))

/** Logits and gates after each token of each text. */
async function computed(decoder: TokenDecoder, config: ModelConfig, texts: readonly Text[]): Promise<number[][][]> {
  const experts = texts.map(({ seed }) => new PredeterminedExperts(config, seed))
  // The pages of the texts are in turns, and the first text has the last one.
  const each = pagesFor(config, config.sequence)
  const pages = texts.map((_, text) =>
    Array.from({ length: each }, (_, page) => (each - page) * texts.length - 1 - text),
  )
  const found: number[][][] = texts.map(() => [])
  const last = Math.max(...texts.map(({ ids }) => ids.length))
  for (let t = 0; t < last; t++) {
    const tokens = texts.flatMap(({ ids }, text) => {
      // Texts end together, so they begin one after the other.
      const position = t - (last - ids.length)
      return position < 0
        ? []
        : [
            {
              ...{ text, pages: pages[text] as number[], token: ids[position] as number, position },
              experts: experts[text] as PredeterminedExperts,
            },
          ]
    })
    await decoder.step(tokens, (i, { logits, routers, length, row }) => {
      const gates = routers.flatMap(({ expert_TK, gate_TK }) => {
        const each = expert_TK.length / length
        return [expert_TK, gate_TK].flatMap((choices) => [...choices.subarray(row * each, (row + 1) * each)])
      })
      found[(tokens[i] as { text: number }).text]?.push([...logits, ...gates])
    })
  }
  return found
}

async function expectSameAlone(on: Runtime, config: ModelConfig, store: ModelStore): Promise<void> {
  const program = new TokenProgram(on, config, store, true)
  const texts = textsOf(config)
  const together = TokenDecoder.open(program, wholeContexts(config, texts.length)) as TokenDecoder
  const found = await computed(together, config, texts)
  together.release()
  const alone = TokenDecoder.open(program, wholeContexts(config, 1)) as TokenDecoder
  for (const [i, text] of texts.entries()) {
    expect(found[i]?.[0]?.length).toBeGreaterThanOrEqual(config.vocabulary)
    expect(found[i]?.flat().every(Number.isFinite)).toBe(true)
    expect(found[i], `text ${i}`).toEqual((await computed(alone, config, [text]))[0])
  }
  alone.release()
  program.release()
}

/** A drawn configuration, and a function that fills a store with random weights that do not depend on the store. */
function drawn(overrides: CaseOverrides) {
  const { config } = randomCase(11, overrides)
  const fill = async <S extends ParameterStore | QuantizedStore>(store: S): Promise<S> => {
    const tensors = store instanceof QuantizedStore ? store.tensors() : namedRanges(store)
    for (const { name, range } of tensors) {
      const random = randomFor(7, name)
      // A quantized matrix is written in pieces, and cannot be read.
      const values = Float32Array.from({ length: range.count }, () => 0.4 * random.uniform() - 0.2)
      await range.arena.write(range.start, values)
    }
    return store
  }
  return { config: generationConfig(config), fill }
}

const namedRanges = (store: ParameterStore) => store.specs.map(({ name }) => ({ name, range: store.parameter(name) }))

describe('the next tokens of several texts have the bits that each has alone', () => {
  test.each(Object.entries(kinds))('%s', async (_, overrides) => {
    const { config, fill } = drawn(overrides)
    const store = await fill(new ParameterStore(runtime, parameterSpecs(config), null, scratchOfTexts(config, 7)))
    await expectSameAlone(runtime, config, store)
  })

  test('in memory beside the parameters', async () => {
    const { config, fill } = drawn(kinds['top-2, shared keys, a window'] as CaseOverrides)
    // The scratch memory of the store is too small for a text, so that parameters and programs have arenas of their own.
    const store = await fill(new ParameterStore(runtime, parameterSpecs(config), null, 1))
    await expectSameAlone(runtime, config, store)
  })

  test.each(['bf16', 'int8', 'int4'] as const)('with weights of %s', async (format: QuantizedFormat) => {
    const { config, fill } = drawn(kinds['top-2, shared keys, a window'] as CaseOverrides)
    const store = await fill(new QuantizedStore(runtime, config, format, scratchOfTexts(config, 7)))
    await expectSameAlone(runtime, config, store)
  })

  test.skipIf(testDevice === null)('on a GPU', { timeout: 300_000 }, async () => {
    const gpu = createDeviceRuntime(testDevice as NonNullable<typeof testDevice>)
    const { config, fill } = drawn(kinds['top-2, shared keys, a window'] as CaseOverrides)
    const store = await fill(new ParameterStore(gpu, parameterSpecs(config), null, scratchOfTexts(config, 7)))
    await expectSameAlone(gpu, config, store)
  })
})
