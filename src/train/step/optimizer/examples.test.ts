/** The examples of optimizers in `examples/optimizers` against their formulas in plain float64. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { type RunInput, runSchema } from '../../../core/config/run-config.ts'
import { sizeOf } from '../../../core/graph/shape.ts'
import type { ParameterSpec } from '../../../core/model/parameters.ts'
import { randomFor } from '../../../core/random.ts'
import { floatsOf } from '../../../engine/contract/arena.ts'
import type { Runtime } from '../../../engine/contract/runtime.ts'
import { createRuntime } from '../../../engine/cpu/cpu-runtime.ts'
import { loadPlugin } from '../../../node/run/plugins/plugins.ts'
import { ParameterStore } from '../store/store.ts'
import { ownStateFloats, ruleOf } from './own-rule.ts'
import { ownUpdate } from './own-update.ts'

const matrix = { init: { fanIn: 4, role: 'matrix' }, decay: true, stacked: false } as const
const specs: ParameterSpec[] = [
  { ...matrix, name: 'wide', shape: [4, 9] },
  { ...matrix, name: 'tall', shape: [7, 3] },
  { ...matrix, name: 'experts.{e}.up', shape: [3, 4, 5], stacked: true },
  { ...matrix, name: 'own.stack', shape: [2, 6, 4] },
  { ...matrix, name: 'embedding', shape: [6, 4], init: { fanIn: 4, role: 'embedding' }, decay: false },
  { name: 'norm', shape: [5], init: 'ones', decay: false, stacked: false },
]

let folder: string
let runtime: Runtime
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'choir-optimizers-'))
  vi.stubEnv('XDG_CACHE_HOME', folder)
  runtime = await createRuntime({ threads: 2 })
})
afterAll(async () => {
  vi.unstubAllEnvs()
  await Promise.all([runtime.close(), rm(folder, { recursive: true, force: true })])
})

/** A fixed seed: with some gradients rounding turns a sign of Lion, since a momentum is nearly 0. */
const seed = 7

/** A parameter, or one expert of it, in float64. */
interface Plain {
  readonly role: 'matrix' | 'other'
  readonly rows: number
  readonly decay: number
  readonly p: number[]
  readonly state: Record<string, number[]>
}

/** Does updates with random gradients by an example and by `update`, and compares all parameters. */
async function compare(
  example: string,
  optimizer: NonNullable<NonNullable<RunInput['train']>['optimizer']>,
  update: (plain: Plain, g: readonly number[], rate: number, step: number) => void,
  tolerance: number,
): Promise<void> {
  const own = await loadPlugin('optimizer', `examples/optimizers/${example}.ts`)
  const config = runSchema.parse({ train: { optimizer: { ...optimizer, kind: 'own', own } } }).train
  const rule = ruleOf(config)
  const layout = { ...new ParameterStore(runtime, [], null).layout, blockFloats: Number.POSITIVE_INFINITY }
  const store = new ParameterStore(runtime, specs, (share) => ownStateFloats(rule, share), 0, layout)
  const rules = await ownUpdate(runtime, store, config)
  const random = randomFor(seed, example)
  const fill = (values: Float32Array) => {
    for (const i of values.keys()) values[i] = 4 * random.uniform() - 2
  }
  const plain = specs.map((spec) => {
    const values = floatsOf(store.parameter(spec.name))
    fill(values)
    // A layer of one's own may have a stack of matrices in one parameter.
    const isStack = spec.stacked || spec.name === 'own.stack'
    const [count, ...inner] = isStack ? spec.shape : [1, ...spec.shape]
    const size = sizeOf(inner)
    return Array.from({ length: count as number }, (_, e): Plain => {
      const p = Array.from(values.subarray(e * size, (e + 1) * size))
      const role = /wide|tall|experts|stack/.test(spec.name) ? 'matrix' : 'other'
      return { role, rows: inner[0] as number, decay: spec.decay ? config.optimizer.weightDecay : 0, p, state: {} }
    })
  })
  for (let step = 1; step <= 5; step++) {
    for (const [i, { name }] of specs.entries()) {
      const gradient = floatsOf(store.gradient(name))
      fill(gradient)
      let at = 0
      for (const each of plain[i] as Plain[]) {
        update(each, Array.from(gradient.subarray(at, at + each.p.length)), 0.01, step)
        at += each.p.length
      }
    }
    await rules.update({ step, learningRate: 0.01 }, { norm: 1, scale: 1, isOpen: true })
    for (const [i, { name }] of specs.entries()) {
      const expected = (plain[i] as Plain[]).flatMap(({ p }) => p)
      for (const [j, found] of floatsOf(store.parameter(name)).entries())
        expect(Math.abs(found - (expected[j] as number)), `${name}[${j}] after step ${step}`).toBeLessThan(tolerance)
    }
  }
  for (const program of rules.programs ?? []) program.release()
}

const stateOf = ({ state, p }: Plain, name: string) => (state[name] ??= p.map(() => 0))

test('Lion is algorithm 2 of Chen et al. 2023', async () => {
  const [beta1, beta2] = [0.9, 0.99]
  await compare(
    'lion',
    { beta1, beta2, weightDecay: 0.3 },
    (plain, g, rate) => {
      const m = stateOf(plain, 'm')
      for (const [i, gi] of g.entries()) {
        const [pi, mi] = [plain.p[i] as number, m[i] as number]
        const c = beta1 * mi + (1 - beta1) * gi
        plain.p[i] = pi - rate * (Math.sign(c) + plain.decay * pi)
        m[i] = beta2 * mi + (1 - beta2) * gi
      }
    },
    1e-6,
  )
})

/** The product of [rows of a, rows of b] and the transpose of b: both have rows of the same length. */
const timesTransposed = (a: number[][], b: number[][]) =>
  a.map((x) => b.map((y) => x.reduce((sum, value, i) => sum + value * (y[i] as number), 0)))
const transposed = (a: readonly number[][]) => (a[0] as number[]).map((_, j) => a.map((row) => row[j] as number))

/** Jordan et al. 2024: X ← aX + b(XXᵀ)X + c(XXᵀ)²X. */
function newtonSchulz(g: readonly number[], rows: number, iterations: number): number[][] {
  const columns = g.length / rows
  const norm = Math.sqrt(g.reduce((sum, value) => sum + value * value, 0))
  const whole = Array.from({ length: rows }, (_, i) => g.slice(i * columns, (i + 1) * columns).map((v) => v / norm))
  let x = rows > columns ? transposed(whole) : whole
  for (let i = 0; i < iterations; i++) {
    const product = timesTransposed(x, x)
    const once = timesTransposed(product, transposed(x))
    const twice = timesTransposed(product, transposed(once))
    x = x.map((row, r) =>
      row.map((value, c) => 3.4445 * value - 4.775 * Number(once[r]?.[c]) + 2.0315 * Number(twice[r]?.[c])),
    )
  }
  return rows > columns ? transposed(x) : x
}

/** AdamW with the default settings, on what is not a matrix. */
function adamw(plain: Plain, g: readonly number[], rate: number, step: number): void {
  const [m, v] = [stateOf(plain, 'm'), stateOf(plain, 'v')]
  for (const [i, gi] of g.entries()) {
    m[i] = 0.9 * (m[i] as number) + 0.1 * gi
    v[i] = 0.95 * (v[i] as number) + 0.05 * gi * gi
    const change = (m[i] as number) / (1 - 0.9 ** step) / (Math.sqrt((v[i] as number) / (1 - 0.95 ** step)) + 1e-8)
    plain.p[i] = (plain.p[i] as number) * (1 - rate * plain.decay) - rate * change
  }
}

test.each([
  { momentum: 0.95, nesterov: true, iterations: 5 },
  { momentum: 0.8, nesterov: false, iterations: 3 },
])('Muon orthogonalises the momentum of matrices, and updates the rest by AdamW: %j', async (settings) => {
  await compare(
    'muon',
    { weightDecay: 0.3, settings },
    (plain, g, rate, step) => {
      if (plain.role !== 'matrix') return adamw(plain, g, rate, step)
      const { momentum: beta, nesterov, iterations } = settings
      const m = stateOf(plain, 'm')
      for (const [i, gi] of g.entries()) m[i] = beta * (m[i] as number) + gi
      const direction = g.map((gi, i) => (nesterov ? gi + beta * (m[i] as number) : (m[i] as number)))
      const change = newtonSchulz(direction, plain.rows, iterations).flat()
      const size = 0.2 * Math.sqrt(Math.max(plain.rows, g.length / plain.rows))
      for (const [i, ci] of change.entries())
        plain.p[i] = (plain.p[i] as number) * (1 - rate * plain.decay) - rate * size * ci
    },
    2e-5,
  )
})
