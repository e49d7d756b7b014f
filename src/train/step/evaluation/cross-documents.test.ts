/** With data.crossDocuments=false a document is computed as if nothing preceded it in its window. */

import { describe, expect, test } from 'vitest'
import { runSchema } from '../../../core/config/run-config.ts'
import { withKernels } from '../../../core/graph/tensor.ts'
import { type ModelConfig, modelSchema } from '../../../core/model/config.ts'
import { parameterSpecs } from '../../../core/model/parameters.ts'
import { floatsOf } from '../../../engine/contract/arena.ts'
import type { Precision, Runtime } from '../../../engine/contract/runtime.ts'
import { createRuntime } from '../../../engine/cpu/cpu-runtime.ts'
import { createArenaKernels } from '../../../engine/cpu/wasm/arena-kernels.ts'
import { cpuMemory } from '../../../engine/testing/cpu-memory.ts'
import { tokenizerFromJson } from '../../../node/data/tokenizer/native-tokenizer.ts'
import type { TokenStream } from '../../data/streams/token-stream.ts'
import { bytesTokenizer } from '../../data/tokenizer/tokenizer.ts'
import { GradientProgram, gradientScratch } from '../passes/gradient-program.ts'
import { CompiledPass, tracePass } from '../passes/pass.ts'
import { initialize, initialScales } from '../store/initialize.ts'
import { ParameterStore } from '../store/store.ts'
import { Evaluator } from './evaluation.ts'

const END = 0
/** Length of a window, longer than a block of the attention kernel. */
const sequence = 150
const batch = 2
const size = batch * sequence
/** Position in each window at which the document begins with its separator. */
const begins = [40, 70]

const dense = { moe: null }
const models: Record<string, Parameters<typeof modelSchema.parse>[0] & object> = {
  'rotary positions': dense,
  'learned positions': { ...dense, positions: 'learned' },
}

const configOf = (over: object): ModelConfig =>
  modelSchema.parse({ vocabulary: 50, layers: 2, width: 16, heads: 2, hidden: 32, sequence, ...over })

async function storeOf(config: ModelConfig, scratch = 0): Promise<ParameterStore> {
  const store = new ParameterStore(cpuMemory, parameterSpecs(config), scratch > 0 ? 0 : null, scratch)
  // The scale is large enough that tokens attend to each other, as after training.
  const { train } = runSchema.parse({ train: { init: { scale: 8 } } })
  await initialize(store, 1, initialScales({ model: config, train }))
  return store
}

/** Two windows with other text before position `begins` and a document after it; only its targets count. */
function windows(before: number): { tokens: Int32Array; targets: Int32Array } {
  const place = (t: number) => t % sequence
  const begin = (t: number) => begins[Math.floor(t / sequence)] as number
  const tokens = Int32Array.from({ length: size }, (_, t) => {
    if (place(t) === begin(t) || place(t) === 12) return END
    return 1 + ((t * (place(t) < begin(t) ? before : 7)) % 49)
  })
  const targets = Int32Array.from({ length: size }, (_, t) => (place(t) < begin(t) ? -1 : (t * 13) % 50))
  return { tokens, targets }
}

interface Computed {
  readonly loss: number
  readonly gradients: Readonly<Record<string, readonly number[]>>
}

/** Loss of the evaluation program, then loss and gradients of the training program. */
async function compute(
  runtime: Runtime,
  kernels: boolean,
  config: ModelConfig,
  before: number,
  separator?: number,
): Promise<readonly [evaluated: number, trained: Computed]> {
  const { tokens, targets } = windows(before)
  const store = await storeOf(config, gradientScratch(config, { batch, microBatches: 1, sequence }))
  const offered: Runtime = kernels ? runtime : withoutKernels(runtime)
  const pass = await CompiledPass.compile(
    runtime,
    config,
    withKernels(offered.kernels, () =>
      tracePass(config, store, { batch, sequence, training: false, capacity: 'eval' }, separator),
    ),
  )
  pass.tokens.set(tokens)
  pass.targets.set(targets)
  await pass.run()
  const evaluated = pass.loss
  pass.release()

  const helpers = await createArenaKernels(1)
  const shape = { batch, microBatches: 1, sequence }
  const program = await GradientProgram.compile(
    { runtime: offered, kernels: helpers, config, store, shape, separator },
    0,
  )
  await program.run(1, { tokens, targets })
  const { loss } = await program.result()
  const gradients = Object.fromEntries(
    parameterSpecs(config).map(({ name }) => [name, Array.from(floatsOf(store.gradient(name)), (value) => value + 0)]),
  )
  program.release()
  await helpers.close()
  return [evaluated, { loss, gradients }]
}

const withoutKernels = (runtime: Runtime): Runtime =>
  new Proxy(runtime, {
    get: (target, name) => {
      if (name === 'kernels') return { names: new Set<string>(), tile: 1, threads: 1, parts: 16 }
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })

async function withRuntime(math: Precision, body: (runtime: Runtime) => Promise<void>): Promise<void> {
  const runtime = await createRuntime({ threads: 2, math })
  try {
    await body(runtime)
  } finally {
    await runtime.close()
  }
}

describe('losses and gradients of a document do not depend on the text before it in its window', () => {
  for (const [kernels, math] of [
    [true, 'float32'],
    [true, 'bf16'],
    [false, 'float32'],
  ] as const)
    for (const [name, over] of Object.entries(models))
      test(`${kernels ? 'with' : 'without'} kernels, ${math}, ${name}: not by a single bit, but they do with crossDocuments`, () =>
        withRuntime(math, async (runtime) => {
          const config = configOf(over)
          const once = await compute(runtime, kernels, config, 3, END)
          const again = await compute(runtime, kernels, config, 11, END)
          expect(again).toEqual(once)
          const [crossed, other] = [
            await compute(runtime, kernels, config, 3),
            await compute(runtime, kernels, config, 11),
          ]
          for (const pick of [0, 1] as const) {
            const lossOf = (all: typeof once) => (pick === 0 ? all[0] : all[1].loss)
            expect(Math.abs(lossOf(other) - lossOf(crossed))).toBeGreaterThan(1e-4)
            expect(Math.abs(lossOf(once) - lossOf(crossed))).toBeGreaterThan(1e-4)
          }
        }))
})

test('rotary positions are relative: a document has the same loss anywhere in its window', () =>
  withRuntime('float32', async (runtime) => {
    const config = configOf({ ...dense, layers: 1 })
    const store = await storeOf(config)
    const pass = await CompiledPass.compile(
      runtime,
      config,
      tracePass(config, store, { batch, sequence, training: false, capacity: 'eval' }, END),
    )
    const document = [END, ...Array.from({ length: 20 }, (_, i) => 1 + ((i * 17) % 49))]
    const lossAt = async (place: number) => {
      pass.tokens.fill(5)
      pass.targets.fill(-1)
      pass.tokens.set(document, place)
      pass.targets.set(document.slice(1), place)
      await pass.run()
      return pass.loss
    }
    const first = await lossAt(0)
    for (const place of [1, 60, 120]) expect(await lossAt(place)).toBeCloseTo(first, 5)
    pass.release()
  }))

test('held-out text: every token is still a target, and documents are evaluated separately', () =>
  withRuntime('float32', async (runtime) => {
    const tokenizer = tokenizerFromJson(bytesTokenizer().json)
    const end = tokenizer.endOfText
    const config = configOf({ ...dense, vocabulary: 257, sequence: 32 })
    const store = await storeOf(config)
    const streamOf = (first: string): TokenStream => {
      const ids = Int32Array.from([end, ...Buffer.from(first), end, ...Buffer.from('ship and sea '.repeat(2)), end])
      return { length: ids.length, documents: 2, read: (at, into) => into.set(ids.subarray(at, at + into.length)) }
    }
    const nats = async (heldOut: TokenStream, separator?: number) => {
      const evaluator = await Evaluator.compile(runtime, config, store, 2, 0, separator)
      const { evaluation } = await evaluator.run({ heldOut, tokenizer }, 'none')
      evaluator.release()
      expect(evaluation.evaluated_tokens).toBe(heldOut.length - 1)
      return evaluation.loss * evaluation.evaluated_tokens
    }
    // The first document has the same nats alone as in the stream; the rest belongs to the second document.
    const [textA, textB] = ['whale', 'abcde']
    const [natsA, natsB] = [await nats(streamOf(textA), end), await nats(streamOf(textB), end)]
    const alone = (text: string): TokenStream => {
      const ids = Int32Array.from([end, ...Buffer.from(text), end])
      return { length: ids.length, documents: 1, read: (at, into) => into.set(ids.subarray(at, at + into.length)) }
    }
    const rest = [natsA - (await nats(alone(textA), end)), natsB - (await nats(alone(textB), end))]
    expect(rest[0]).toBeCloseTo(rest[1] as number, 3)
    const crossed = [await nats(streamOf(textA)), await nats(streamOf(textB))]
    const restCrossed = [
      (crossed[0] as number) - (await nats(alone(textA))),
      (crossed[1] as number) - (await nats(alone(textB))),
    ]
    expect(Math.abs((restCrossed[0] as number) - (restCrossed[1] as number))).toBeGreaterThan(0.01)
  }))
