/** Training steps on a WebGPU device and on the CPU, to be compared. */
import { afterAll, beforeAll, expect } from 'vitest'
import { type RunConfig, runSchema } from '../../src/core/config/run-config.ts'
import { anyVocabulary } from '../../src/core/config/testing/any-vocabulary.ts'
import { readRange } from '../../src/engine/contract/arena.ts'
import type { Runtime } from '../../src/engine/contract/runtime.ts'
import { createRuntime } from '../../src/engine/cpu/cpu-runtime.ts'
import type { Device } from '../../src/engine/webgpu/device.ts'
import { createDeviceRuntime } from '../../src/engine/webgpu/runtime.ts'
import { testDevice } from '../../src/engine/webgpu/testing/run-kernel.ts'
import { initialize, initialScales } from '../../src/train/step/store/initialize.ts'
import { createStore, Trainer } from '../../src/train/step/trainer.ts'
import { testRandom } from './gradient-check.ts'
import { expectNear } from './kernel-check.ts'

/** Tolerance for the rounding of float32 in the model and its gradient. */
const TOLERANCE = 5e-5
/** Smallest number that errors are relative to. */
const FLOOR = 1e-3

export const [batch, sequence] = [4, 16]

/**
 * Sizes of the model in all tests of trainings on a device. A software device compiles kernels for every size, so tests
 * that differ only in other settings share most kernels.
 */
export const sizes = {
  vocabulary: 64,
  layers: 1,
  width: 16,
  heads: 2,
  sequence,
  hidden: 16,
  positions: 'rotary',
} as const

/** Number of experts, a multiple of every number of prototypes and groups. */
export const experts = 6

export const configOf = (moe: object | null, { model = {}, train = {}, data = {} } = {}): RunConfig =>
  runSchema.parse({
    model: { ...sizes, ...model, moe: moe && { hidden: 16, experts, capacity: 'kx', ...moe } },
    train: { batch, steps: 8, schedule: { warmup: 1 }, ...train },
    data: { ...anyVocabulary, ...data },
  })

/** Trains some steps. @returns The outcome of each, the gradients of the first and the parameters after the last. */
export async function train(runtime: Runtime, config: RunConfig, steps: number, separator?: number) {
  const store = createStore(runtime, config)
  const trainer = await Trainer.compile(runtime, config, store, separator)
  await initialize(store, config.train.seed, initialScales(config))
  const random = testRandom(7)
  const ids = () =>
    Int32Array.from({ length: config.train.batch * sequence }, () => Math.floor(random() * sizes.vocabulary))
  const outcomes = []
  const gradients = new Map<string, Float32Array>()
  for (let step = 1; step <= steps; step++) {
    const { loss, gradNorm, layers, skipped } = await trainer.step(step, { tokens: ids(), targets: ids() })
    outcomes.push({ loss, gradNorm, skipped, counts: layers.flatMap(({ tokens, kept }) => [...tokens, ...kept]) })
    if (step === 1)
      for (const { name } of store.specs) gradients.set(name, (await readRange(store.gradient(name))).slice())
  }
  const parameters = new Map<string, Float32Array>()
  for (const { name } of store.specs) parameters.set(name, (await readRange(store.parameter(name))).slice())
  await trainer.release()
  return { outcomes, gradients, parameters }
}

/** Runtimes of a test file, and a comparison of trainings on both. */
export function bothRuntimes() {
  let cpu: Runtime
  let gpu: Runtime
  beforeAll(async () => {
    cpu = await createRuntime({ threads: 1 })
    gpu = createDeviceRuntime(testDevice as Device)
  })
  afterAll(async () => {
    await cpu.close()
    await gpu.close()
  })

  async function compare(config: RunConfig, steps = 2, separator?: number): Promise<void> {
    const expected = await train(cpu, config, steps, separator)
    const found = await train(gpu, config, steps, separator)
    for (const [i, outcome] of expected.outcomes.entries()) {
      const other = found.outcomes[i] as typeof outcome
      expect(other.counts, `counts of step ${i + 1}`).toEqual(outcome.counts)
      expect(other.skipped).toBe(outcome.skipped)
      expectNear(
        Float32Array.of(other.loss, other.gradNorm),
        [outcome.loss, outcome.gradNorm],
        TOLERANCE,
        `step ${i + 1}`,
      )
    }
    for (const [name, gradient] of expected.gradients) {
      expectNear(found.gradients.get(name) as Float32Array, gradient, TOLERANCE, `gradients ${name}`, FLOOR)
      const parameter = expected.parameters.get(name) as Float32Array
      const other = found.parameters.get(name) as Float32Array
      // AdamW divides a gradient by its size, so the update of a gradient that is only rounding is only rounding too.
      const least = 100 * TOLERANCE * gradient.reduce((most, g) => Math.max(most, Math.abs(g)), FLOOR)
      const compared = other.map((value, i) => {
        const g = Math.abs(gradient[i] as number)
        return g > 0 && g < least ? (parameter[i] as number) : value
      })
      expectNear(compared, parameter, TOLERANCE, `parameters ${name}`, FLOOR)
    }
  }
  return { compare, gpu: () => gpu }
}
