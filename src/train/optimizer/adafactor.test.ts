import { expect, test } from 'vitest'
import type { ParameterSpec } from '../../model/parameters.ts'
import { createRuntime } from '../../runtime/index.ts'
import { randomFor } from '../random.ts'
import { ParameterStore } from '../store.ts'
import { adafactor } from './adafactor.ts'

const specs: ParameterSpec[] = [
  { name: 'vector', shape: [6], init: 'ones', decay: false, stacked: false },
  { name: 'matrix', shape: [5, 7], init: 'zeros', decay: true, stacked: false },
  { name: 'experts.{e}.in', shape: [2, 4, 3], init: 'zeros', decay: true, stacked: true },
]
const config = { kind: 'adafactor', beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, clip: 1 } as const

const seed = Math.floor(Math.random() * 2 ** 31)
console.info(`adafactor: seed ${seed}`)
const random = randomFor(seed, 'adafactor')
/** Uniform in [-2, 2). */
const draw = () => 4 * random.uniform() - 2
const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)

/**
 * Shazeer and Stern 2018 in float64: algorithm 4 for a matrix (row sums R, column sums C, V = RC/ΣR),
 * algorithm 5 for a vector; ε₁ = 1e-30, d = 1, β₂ = 1 − t^−0.8, the step size given, decay decoupled.
 */
class PlainAdafactor {
  x: number[]
  private readonly columns: number | null
  private readonly decay: number
  private R: number[] = []
  private C: number[] = []
  private t = 0

  /** @param columns Of a matrix; null = a vector. */
  constructor(x: Iterable<number>, columns: number | null, decay: number) {
    this.x = [...x]
    this.columns = columns
    this.decay = decay
  }

  update(G: readonly number[], rate: number): void {
    const beta = 1 - (++this.t) ** -0.8
    const average = (old: readonly number[], next: readonly number[]) =>
      next.map((value, i) => beta * (old[i] ?? 0) + (1 - beta) * value)
    const squares = G.map((g) => g * g + 1e-30)
    let V: number[]
    const m = this.columns
    if (m === null) {
      this.R = average(this.R, squares)
      V = this.R
    } else {
      const rows = Array.from({ length: G.length / m }, (_, i) => sum(squares.slice(i * m, (i + 1) * m)))
      const columns = Array.from({ length: m }, (_, j) => sum(squares.filter((_, k) => k % m === j)))
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

test('ten updates are those of a plain float64 Adafactor, every expert a matrix of its own', async () => {
  const runtime = await createRuntime({ threads: 1 })
  const store = new ParameterStore(specs, 0)
  const optimizer = await adafactor(runtime, store, config)
  const parts = [
    { p: store.parameter('vector'), g: store.gradient('vector'), columns: null, decay: 0 },
    { p: store.parameter('matrix'), g: store.gradient('matrix'), columns: 7, decay: 0.1 },
    ...[0, 1].map((e) => ({
      p: store.parameter('experts.{e}.in', e),
      g: store.gradient('experts.{e}.in', e),
      columns: 3,
      decay: 0.1,
    })),
  ]
  for (const { p } of parts) for (let i = 0; i < p.length; i++) p[i] = draw()
  const plain = parts.map(({ p, columns, decay }) => new PlainAdafactor(p, columns, decay))
  for (let step = 1; step <= 10; step++) {
    const [learningRate, gradientScale] = [0.005 * step, step % 2 === 0 ? 0.25 : 1]
    parts.forEach(({ g }, i) => {
      // Sizes that jump, so that updates are clipped at some steps and not at others.
      const size = 10 ** (((step * 7 + i) % 4) - 3)
      for (let j = 0; j < g.length; j++) g[j] = size * draw()
      plain[i]?.update(
        Array.from(g, (value) => value * gradientScale),
        learningRate,
      )
    })
    await optimizer.update({ step, learningRate, gradientScale })
  }
  parts.forEach(({ p }, i) => {
    p.forEach((value, j) => {
      const expected = plain[i]?.x[j] as number
      expect(Math.abs(value - expected)).toBeLessThan(5e-6 * Math.max(1, Math.abs(expected)))
    })
  })
  optimizer.release()
  await runtime.close()
})
