import { afterAll, beforeAll, expect, test } from 'vitest'
import { type RunInput, runSchema } from '../../../core/config/run-config.ts'
import type { ParameterSpec } from '../../../core/model/parameters.ts'
import { randomFor } from '../../../core/random.ts'
import { floatsOf } from '../../../engine/contract/arena.ts'
import type { ArenaKernels, Gate } from '../../../engine/contract/arena-kernels.ts'
import { createArenaKernels } from '../../../engine/cpu/wasm/arena-kernels.ts'
import { cpuMemory } from '../../../engine/testing/cpu-memory.ts'
import { parameterRanges } from '../store/parameter-ranges.ts'
import { ParameterStore } from '../store/store.ts'
import { ADAMW_MOMENTS, adamw } from './adamw.ts'

const specs: ParameterSpec[] = [
  { name: 'vector', shape: [3], init: 'ones', decay: false, stacked: false },
  { name: 'matrix', shape: [5, 7], init: 'zeros', decay: true, stacked: false },
  { name: 'experts.{e}.in', shape: [2, 3, 3], init: 'zeros', decay: true, stacked: true },
  { name: 'table', shape: [4, 5], init: 'zeros', decay: false, stacked: false },
  { name: 'router', shape: [5, 2], init: { fanIn: 5, role: 'router' }, decay: false, stacked: false },
  { name: 'shared.in', shape: [3, 3], init: 'zeros', decay: true, stacked: false },
]
const configOf = (train: RunInput['train']) => runSchema.parse({ train }).train
const config = configOf({})

let kernels: ArenaKernels
beforeAll(async () => {
  kernels = await createArenaKernels(2)
})
afterAll(() => kernels.close())

const seed = Math.floor(Math.random() * 2 ** 31)
console.info(`adamw: seed ${seed}`)
const random = randomFor(seed, 'adamw')
/** Uniform in [-2, 2). */
const draw = () => 4 * random.uniform() - 2
const fill = (values: Float32Array, size = 1) => {
  for (let i = 0; i < values.length; i++) values[i] = size * draw()
}

const open = (scale: number): Gate => ({ norm: 1, scale, isOpen: true })

/** Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2), one number, in float64. */
class PlainAdamW {
  p: number
  private m = 0
  private v = 0
  private t = 0
  private readonly decay: number

  constructor(p: number, decay: number) {
    this.p = p
    this.decay = decay
  }

  update(g: number, rate: number): void {
    this.t++
    this.m = 0.9 * this.m + 0.1 * g
    this.v = 0.95 * this.v + 0.05 * g * g
    const corrected = { m: this.m / (1 - 0.9 ** this.t), v: this.v / (1 - 0.95 ** this.t) }
    this.p -= (rate * corrected.m) / (Math.sqrt(corrected.v) + 1e-8) + rate * this.decay * this.p
  }
}

test.each<[string, RunInput['train'], experts: [rate: number, decay: number], routers: number]>([
  ['alike', {}, [1, 0.1], 1],
  ['experts and routers at rates of their own', { schedule: { expertRate: 0.3, routerRate: 2.5 } }, [0.3, 0.1], 2.5],
  ['experts decay more', { optimizer: { expertWeightDecay: 0.7 } }, [1, 0.7], 1],
  ['experts slower without decay', { optimizer: { expertWeightDecay: 0 }, schedule: { expertRate: 0.5 } }, [0.5, 0], 1],
])(
  'ten updates match a plain float64 AdamW; only parameters with decay shrink: %s',
  async (_, train, experts, routers) => {
    const store = new ParameterStore(cpuMemory, specs, ADAMW_MOMENTS)
    const optimizer = adamw(kernels, store, configOf(train))
    const [expertRate, expertDecay] = experts
    const rates: Record<string, number> = { 'experts.{e}.in': expertRate, router: routers }
    for (const { name } of specs) fill(floatsOf(store.parameter(name)))
    const plain = specs.map(({ name, decay }) =>
      Array.from(
        floatsOf(store.parameter(name)),
        (p) => new PlainAdamW(p, decay ? (name.startsWith('experts') ? expertDecay : 0.1) : 0),
      ),
    )
    for (let step = 1; step <= 10; step++) {
      const [learningRate, scale] = [0.01 * step, step % 2 === 0 ? 0.25 : 1]
      // Gradients from tiny to large: the update must not depend on their scale.
      specs.forEach(({ name }, i) => {
        const gradient = floatsOf(store.gradient(name))
        fill(gradient, 10 ** (2 * (i % 4) - 4))
        plain[i]?.forEach((number, j) => {
          number.update((gradient[j] as number) * scale, learningRate * (rates[name] ?? 1))
        })
      })
      await optimizer.update({ step, learningRate }, open(scale))
    }
    specs.forEach(({ name }, i) => {
      const parameter = floatsOf(store.parameter(name))
      plain[i]?.forEach(({ p }, j) => {
        expect(Math.abs((parameter[j] as number) - p)).toBeLessThan(2e-6 * Math.max(1, Math.abs(p)))
      })
    })
  },
)

test('state tensors are named after parameters, one per expert', () => {
  const optimizer = adamw(kernels, new ParameterStore(cpuMemory, specs, ADAMW_MOMENTS), config)
  const names = optimizer.stateTensors().map(({ name }) => name)
  expect(names).toContain('experts.1.in.exp_avg')
  expect(names).toContain('experts.0.in.exp_avg_sq')
  expect(names).toHaveLength(2 * 7)
})

test('padding between tensors stays zero, so ranges can be updated as a whole', async () => {
  const store = new ParameterStore(cpuMemory, specs, ADAMW_MOMENTS)
  for (const { name } of specs)
    for (const values of [floatsOf(store.parameter(name)), floatsOf(store.gradient(name))]) values.fill(1)
  await adamw(kernels, store, config).update({ step: 1, learningRate: 0.1 }, open(1))
  let numbers = 0
  for (const { arena, parameters, count } of parameterRanges(store))
    numbers += floatsOf({ arena, start: parameters, count }).filter((value) => value !== 0).length
  expect(numbers).toBe(3 + 35 + 18 + 20 + 10 + 9)
})

test('the gradient norm is computed over all gradients, and is not finite when one of them is not', async () => {
  const store = new ParameterStore(cpuMemory, specs, ADAMW_MOMENTS)
  for (const { name } of specs) {
    fill(floatsOf(store.parameter(name)))
    fill(floatsOf(store.gradient(name)))
  }
  const all = specs.flatMap(({ name }) => [...floatsOf(store.gradient(name))])
  const gradients = store.units().map(({ arena, gradients, count }) => ({ arena, start: gradients, count }))
  const normOf = async () => (await kernels.gate(gradients, { clip: 1 })).norm
  expect(await normOf()).toBeCloseTo(Math.hypot(...all), 10)
  for (const { name } of specs) {
    const [first] = floatsOf(store.gradient(name))
    for (const bad of [Number.NaN, Number.NEGATIVE_INFINITY]) {
      floatsOf(store.gradient(name))[0] = bad
      expect(Number.isFinite(await normOf())).toBe(false)
    }
    floatsOf(store.gradient(name))[0] = first as number
  }
})
