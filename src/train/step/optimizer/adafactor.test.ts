/** @slow */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type RunInput, runSchema } from '../../../core/config/run-config.ts'
import type { ParameterSpec } from '../../../core/model/parameters.ts'
import { randomFor } from '../../../core/random.ts'
import { type Arena, changeRange, floatsOf } from '../../../engine/contract/arena.ts'
import type { ArenaKernels, Gate } from '../../../engine/contract/arena-kernels.ts'
import { createArenaKernels } from '../../../engine/cpu/wasm/arena-kernels.ts'
import { cpuMemory } from '../../../engine/testing/cpu-memory.ts'
import { parameterRanges } from '../store/parameter-ranges.ts'
import { ParameterStore } from '../store/store.ts'
import { adafactor, adafactorScratch } from './adafactor.ts'

const matrix = (name: string, rows: number, columns: number): ParameterSpec => {
  return { name, shape: [rows, columns], init: 'zeros', decay: true, stacked: false }
}
const small: ParameterSpec[] = [
  { name: 'vector', shape: [6], init: 'ones', decay: false, stacked: false },
  matrix('matrix', 5, 7),
  { name: 'experts.{e}.in', shape: [2, 4, 3], init: 'zeros', decay: true, stacked: true },
  { name: 'experts.{e}.bias', shape: [3, 5], init: 'zeros', decay: false, stacked: true },
  matrix('wide', 9, 203),
  matrix('column', 131, 1),
  matrix('row', 1, 70),
]
/** A matrix large enough that threads share it: it is cut into blocks of rows, of which the last is smaller and odd. */
const large = matrix('large', 1031, 1029)
const configOf = ({ optimizer, ...train }: NonNullable<RunInput['train']>) =>
  runSchema.parse({ train: { ...train, optimizer: { kind: 'adafactor', ...optimizer } } }).train
const config = configOf({})

let one: ArenaKernels
let two: ArenaKernels
let three: ArenaKernels
beforeAll(async () => {
  one = await createArenaKernels(1)
  two = await createArenaKernels(2)
  three = await createArenaKernels(3)
})
afterAll(async () => {
  await Promise.all([one, two, three].map((kernels) => kernels.close()))
})

const seed = Math.floor(Math.random() * 2 ** 31)
console.info(`adafactor: seed ${seed}`)
const random = randomFor(seed, 'adafactor')
/** Uniform in [-2, 2). */
const draw = () => 4 * random.uniform() - 2
const fill = (values: Float32Array, size = 1) => {
  for (let i = 0; i < values.length; i++) values[i] = size * draw()
}
const storeOf = (specs: readonly ParameterSpec[]) => new ParameterStore(cpuMemory, specs, 0, adafactorScratch(specs))

/** The memory of the first bank. */
function allOf(store: ParameterStore): Float32Array {
  const { arena } = store.gradientRegions()[0] as { arena: Arena }
  return floatsOf({ arena, start: 0, count: arena.byteLength / 4 })
}
const open = (scale: number): Gate => ({ norm: 1, scale, isOpen: true })

const sum = (values: Iterable<number>) => {
  let total = 0
  for (const value of values) total += value
  return total
}

/**
 * Shazeer and Stern 2018 in float64: algorithm 4 for a matrix (row sums R, column sums C, V = RC/ΣR),
 * algorithm 5 for a vector; ε₁ = 1e-30, d = 1, β₂ = 1 − t^−0.8, the step size given, decay decoupled.
 */
class PlainAdafactor {
  x: Float64Array
  R: Float64Array
  C: Float64Array
  private readonly columns: number | null
  private readonly decay: number
  private t = 0

  /** @param columns Number of columns of a matrix; null for a vector. */
  constructor(x: Iterable<number>, columns: number | null, decay: number) {
    this.x = Float64Array.from(x)
    this.columns = columns
    this.decay = decay
    this.R = new Float64Array(this.x.length / (columns ?? 1))
    this.C = new Float64Array(columns ?? 0)
  }

  update(G: Float64Array, rate: number): void {
    const beta = 1 - (++this.t) ** -0.8
    const average = (old: Float64Array, next: Float64Array) =>
      next.map((value, i) => beta * (old[i] ?? 0) + (1 - beta) * value)
    const squares = G.map((g) => g * g + 1e-30)
    let V: Float64Array
    const m = this.columns
    if (m === null) {
      this.R = average(this.R, squares)
      V = this.R
    } else {
      const [rows, columns] = [new Float64Array(G.length / m), new Float64Array(m)]
      squares.forEach((square, k) => {
        rows[Math.floor(k / m)] = (rows[Math.floor(k / m)] ?? 0) + square
        columns[k % m] = (columns[k % m] ?? 0) + square
      })
      this.R = average(this.R, rows)
      this.C = average(this.C, columns)
      const total = sum(this.R)
      V = G.map((_, k) => ((this.R[Math.floor(k / m)] ?? 0) * (this.C[k % m] ?? 0)) / total)
    }
    const U = G.map((g, k) => g / Math.sqrt(V[k] ?? 0))
    const rms = Math.sqrt(sum(U.map((u) => u * u)) / U.length)
    this.x = this.x.map((x, k) => x - rate * this.decay * x - (rate * (U[k] ?? 0)) / Math.max(1, rms))
  }
}

/** How routed experts and routers differ from other tensors. */
interface Apart {
  readonly expertRate: number
  readonly expertDecay: number
  readonly routerRate: number
}
const alike: Apart = { expertRate: 1, expertDecay: 0.1, routerRate: 1 }

/** Every separately updated tensor, with its float64 counterpart and the factor of its learning rate. */
function partsOf(specs: readonly ParameterSpec[], store: ParameterStore, apart = alike) {
  return specs.flatMap(({ name, shape, decay, stacked }) => {
    const rate = stacked ? apart.expertRate : name === 'router' ? apart.routerRate : 1
    const inner = stacked ? shape.slice(1) : shape
    const columns = inner.length === 2 ? (inner[1] as number) : null
    const experts = stacked ? Array.from({ length: shape[0] as number }, (_, e) => e) : [null]
    return experts.map((e) => {
      const [p, g] = [floatsOf(store.parameter(name, e)), floatsOf(store.gradient(name, e))]
      fill(p)
      return { p, g, rate, plain: new PlainAdafactor(p, columns, decay ? (stacked ? apart.expertDecay : 0.1) : 0) }
    })
  })
}

const router = { ...matrix('router', 7, 3), init: { fanIn: 7, role: 'router' }, decay: false } as const
const largeExpert = { ...large, name: 'experts.{e}.large', shape: [1, ...large.shape], stacked: true }

test.each<[string, specs: readonly ParameterSpec[], steps: number, Apart]>([
  ['small tensors', small, 10, alike],
  ['a matrix of several blocks', [large], 2, alike],
  ['experts and routers apart', [...small, router], 10, { expertRate: 0.3, expertDecay: 0.7, routerRate: 2.5 }],
  ['an expert of several blocks', [largeExpert, large], 2, { expertRate: 0.3, expertDecay: 0, routerRate: 1 }],
])(
  'updates match a plain float64 Adafactor, where every expert is a matrix of its own: %s',
  async (_, specs, steps, apart) => {
    const store = storeOf(specs)
    const { expertRate, expertDecay, routerRate } = apart
    const settings = { optimizer: { expertWeightDecay: expertDecay }, schedule: { expertRate, routerRate } }
    const optimizer = adafactor(two, store, configOf(apart === alike ? {} : settings))
    const parts = partsOf(specs, store, apart)
    for (let step = 1; step <= steps; step++) {
      const [learningRate, scale] = [0.005 * step, step % 2 === 0 ? 0.25 : 1]
      parts.forEach(({ g, rate, plain }, i) => {
        // The sizes of gradients jump, so that updates are clipped at some steps and not at others.
        fill(g, 10 ** (((step * 7 + i) % 4) - 3))
        plain.update(
          Float64Array.from(g, (value) => value * scale),
          learningRate * rate,
        )
      })
      await optimizer.update({ step, learningRate }, open(scale))
    }
    for (const { p, plain } of parts) {
      const worst = p.reduce((most, value, j) => {
        const expected = plain.x[j] as number
        return Math.max(most, Math.abs(value - expected) / Math.max(1, Math.abs(expected)))
      }, 0)
      expect(worst).toBeLessThan(5e-6)
    }
  },
)

test('the state is the mean of squares by row and by column, named after its tensor', async () => {
  const store = storeOf(small)
  const optimizer = adafactor(two, store, config)
  const parts = partsOf(small, store)
  for (const { g, plain } of parts) {
    fill(g)
    plain.update(Float64Array.from(g), 0.1)
  }
  await optimizer.update({ step: 1, learningRate: 0.1 }, open(1))
  const state = new Map(optimizer.stateTensors().map(({ name, range }) => [name, floatsOf(range)]))
  const [vector, wide] = [parts[0]?.plain as PlainAdafactor, parts[7]?.plain as PlainAdafactor]
  const expectClose = (name: string, expected: Float64Array) => {
    expect(state.get(name)).toHaveLength(expected.length)
    for (const [i, value] of expected.entries()) expect((state.get(name)?.[i] ?? 0) / value).toBeCloseTo(1, 5)
  }
  expectClose('vector.exp_avg_sq', vector.R)
  expectClose(
    'wide.exp_avg_sq_row',
    wide.R.map((r) => r / 203),
  )
  expectClose(
    'wide.exp_avg_sq_col',
    wide.C.map((c) => c / 9),
  )
  expect([...state.keys()]).toEqual([
    'vector.exp_avg_sq',
    ...['matrix.exp_avg_sq_row', 'matrix.exp_avg_sq_col'],
    ...[0, 1].flatMap((e) => [`experts.${e}.in.exp_avg_sq_row`, `experts.${e}.in.exp_avg_sq_col`]),
    ...[0, 1, 2].map((e) => `experts.${e}.bias.exp_avg_sq`),
    ...['wide', 'column', 'row'].flatMap((name) => [`${name}.exp_avg_sq_row`, `${name}.exp_avg_sq_col`]),
  ])
})

test('any number of threads gives the same bits', async () => {
  const specs = [...small, large, matrix('larger', 1100, 1000)]
  const begin = allOf(storeOf(specs))
  fill(begin)
  const results: Buffer[] = []
  for (const kernels of [one, two, three]) {
    const store = storeOf(specs)
    const optimizer = adafactor(kernels, store, config)
    const floats = allOf(store)
    floats.set(begin)
    // A second moment is not negative.
    for (const { range } of optimizer.stateTensors())
      await changeRange(range, (values) => values.set(values.map(Math.abs)))
    for (const step of [2, 3]) await optimizer.update({ step, learningRate: 0.01 }, open(0.5))
    results.push(Buffer.from(floats.buffer))
  }
  expect(results[0]?.equals(Buffer.from(begin.buffer))).toBe(false)
  expect(results[1]?.equals(results[0] as Buffer)).toBe(true)
  expect(results[2]?.equals(results[0] as Buffer)).toBe(true)
})

test('gradients whose squares overflow in float32 are scaled before they are squared', async () => {
  const run = async (scale: number) => {
    const store = storeOf(small)
    const optimizer = adafactor(two, store, config)
    small.forEach(({ name }) => {
      floatsOf(store.gradient(name)).forEach((_, i, g) => {
        g[i] = ((i % 5) - 2.5) / scale
      })
    })
    await optimizer.update({ step: 1, learningRate: 0.01 }, open(scale))
    return small.flatMap(({ name }) => [...floatsOf(store.parameter(name))])
  }
  const [plain, huge] = [await run(1), await run(2 ** -100)]
  expect(huge).toEqual(plain)
  expect(plain.every((p) => Math.abs(p) > 1e-5)).toBe(true)
})

test('a tensor without a gradient only shrinks by its weight decay', async () => {
  const store = storeOf(small)
  const optimizer = adafactor(two, store, config)
  for (const { name } of small) floatsOf(store.parameter(name)).fill(1)
  for (const step of [1, 2]) await optimizer.update({ step, learningRate: 0.5 }, open(1))
  for (const { name, decay } of small)
    for (const p of floatsOf(store.parameter(name))) expect(p).toBeCloseTo(decay ? 0.95 ** 2 : 1, 6)
})

test('padding between tensors stays zero', async () => {
  const store = storeOf(small)
  for (const { name } of small)
    for (const values of [floatsOf(store.parameter(name)), floatsOf(store.gradient(name))]) values.fill(1)
  await adafactor(two, store, config).update({ step: 1, learningRate: 0.1 }, open(1))
  const numbers = parameterRanges(store).map(({ arena, parameters, count }) => {
    return floatsOf({ arena, start: parameters, count }).filter((value) => value !== 0).length
  })
  expect(sum(numbers)).toBe(6 + 35 + 24 + 15 + 9 * 203 + 131 + 70)
})
