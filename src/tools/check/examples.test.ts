/**
 * The examples of layers and routers, beside their formulas in plain loops of float64.
 *
 * @slow
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { input } from '../../core/graph/tensor.ts'
import { modelSchema } from '../../core/model/config.ts'
import { ownLayers } from '../../core/model/own/layer.ts'
import { ownRouters } from '../../core/model/routing/own.ts'
import { ownBalances } from '../../core/model/routing/own-balance.ts'
import { randomFor } from '../../core/random.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import { createRuntime } from '../../engine/cpu/cpu-runtime.ts'
import { loadPlugin } from '../../node/run/plugins/plugins.ts'
import { checkPluginFile } from './check-file.ts'
import { compileProgram, numbers } from './program.ts'

let runtime: Runtime
let folder: string
beforeAll(async () => {
  runtime = await createRuntime({ threads: 1 })
  folder = await mkdtemp(join(tmpdir(), 'choir-examples-'))
  vi.stubEnv('XDG_CACHE_HOME', folder)
})
afterAll(async () => {
  vi.unstubAllEnvs()
  await rm(folder, { recursive: true, force: true })
  await runtime.close()
})

const random = randomFor(3, 'examples')
const matrixOf = (rows: number, columns: number): number[][] =>
  Array.from({ length: rows }, () => Array.from({ length: columns }, () => 2 * random.uniform() - 1))

const dot = (a: readonly number[], b: readonly number[]) =>
  a.reduce((total, value, i) => total + value * (b[i] ?? 0), 0)
const column = (matrix: readonly number[][], j: number) => matrix.map((row) => row[j] as number)
const times = (row: readonly number[], matrix: readonly number[][]) =>
  (matrix[0] ?? []).map((_, j) => dot(row, column(matrix, j)))
function softmax(values: readonly number[]): number[] {
  const powers = values.map(Math.exp)
  const total = powers.reduce((a, b) => a + b)
  return powers.map((power) => power / total)
}
/** x·Φ(x) by numerical integration of the normal density. */
function gelu(x: number): number {
  const steps = 20_000
  let area = 0
  for (let i = 0; i < steps; i++) area += Math.exp(-0.5 * ((x * (i + 0.5)) / steps) ** 2)
  return x * (0.5 + (area * x) / steps / Math.sqrt(2 * Math.PI))
}

test.each([
  'examples/layers/soft-moe.ts',
  'examples/layers/token-bias.ts',
  'examples/layers/token-shift.ts',
  'examples/routers/expert-choice-by-block.ts',
  'examples/routers/by-table.ts',
  'examples/losses/squared-variation.ts',
])(
  '%s passes choir check',
  async (file) => {
    const { checks } = await checkPluginFile(file)
    expect(checks.filter(({ passed }) => !passed)).toEqual([])
  },
  120_000,
)

/** The program of an example of a layer, with the inputs `x` and its parameters, and the output `y`. */
async function layerOf(
  file: string,
  { width, hidden, sequence, tokens }: Readonly<Record<'width' | 'hidden' | 'sequence' | 'tokens', number>>,
  settings: Readonly<Record<string, number>> = {},
) {
  const layer = ownLayers.get(await loadPlugin('layer', file))
  const shapes = layer.parameters?.({ width, hidden, layers: 1, settings }) ?? {}
  const weights = Object.fromEntries(
    Object.entries(shapes).map(([key, { shape }]) => [key, input(key, 'float64', shape)]),
  )
  const x_TD = input('x', 'float64', [tokens, width])
  const tokens_T = input('tokens', 'int32', [tokens])
  const y = layer.apply({ x_TD, weights, tokens_T, sequence, training: true, settings })
  return compileProgram(runtime, { y: 'y_TD' in y ? y.y_TD : y })
}

test('token-shift multiplies the activations of a token and of the token before', async () => {
  const [width, hidden, sequence, tokens] = [4, 3, 3, 6]
  const program = await layerOf('examples/layers/token-shift.ts', { width, hidden, sequence, tokens })
  const [x, up, before] = [matrixOf(tokens, width), matrixOf(width, hidden), matrixOf(width, hidden)]
  const down = matrixOf(hidden, width)
  const found = numbers((await program.run({ x: x.flat(), up: up.flat(), before: before.flat(), down: down.flat() })).y)
  program.release()
  const expected = x.flatMap((row, t) => {
    const last = t % sequence === 0 ? row.map(() => 0) : (x[t - 1] as number[])
    const own = times(row, up)
    return times(
      times(last, before).map((value, j) => gelu(value + (own[j] as number))),
      down,
    )
  })
  expect(found).toHaveLength(tokens * width)
  for (const [i, value] of found.entries()) expect(value).toBeCloseTo(expected[i] as number, 6)
})

test('token-bias adds the row of the token to the hidden activations', async () => {
  const [width, hidden, sequence, tokens, rows] = [4, 3, 3, 6, 5]
  const sizes = { width, hidden, sequence, tokens }
  const program = await layerOf('examples/layers/token-bias.ts', sizes, { rows })
  const [x, up, bias] = [matrixOf(tokens, width), matrixOf(width, hidden), matrixOf(rows, hidden)]
  const down = matrixOf(hidden, width)
  // Token 7 shares row 2 with token 2, and token 5 row 0 with token 0.
  const ids = [4, 0, 7, 2, 5, 1]
  const inputs = { x: x.flat(), up: up.flat(), bias: bias.flat(), down: down.flat(), tokens: Int32Array.from(ids) }
  const found = numbers((await program.run(inputs)).y)
  program.release()
  const expected = x.flatMap((row, t) => {
    const own = bias[(ids[t] as number) % rows] as number[]
    return times(
      times(row, up).map((value, j) => gelu(value + (own[j] as number))),
      down,
    )
  })
  expect(found).toHaveLength(tokens * width)
  for (const [i, value] of found.entries()) expect(value).toBeCloseTo(expected[i] as number, 6)
})

test('soft-moe is equations 1 to 3 of its paper in each block', async () => {
  const [width, hidden, sequence, block, experts, slots, tokens] = [4, 3, 6, 3, 2, 2, 12]
  const sizes = { width, hidden, sequence, tokens }
  const program = await layerOf('examples/layers/soft-moe.ts', sizes, { experts, slots, block })
  const x = matrixOf(tokens, width)
  const phi = matrixOf(width, experts * slots)
  const up = Array.from({ length: experts }, () => matrixOf(width, hidden))
  const down = Array.from({ length: experts }, () => matrixOf(hidden, width))
  const found = await program.run({ x: x.flat(), phi: phi.flat(), up: up.flat(2), down: down.flat(2) })
  program.release()
  const expected: number[] = []
  for (let first = 0; first < tokens; first += block) {
    const rows = x.slice(first, first + block)
    const logits = rows.map((row) => times(row, phi))
    const results =
      column(logits, 0).length &&
      (logits[0] ?? []).map((_, slot) => {
        const dispatch = softmax(column(logits, slot))
        const mixed = Array.from({ length: width }, (_, d) => dot(dispatch, column(rows, d)))
        const expert = Math.floor(slot / slots)
        return times(times(mixed, up[expert] as number[][]).map(gelu), down[expert] as number[][])
      })
    for (const row of logits)
      for (let d = 0; d < width; d++) expected.push(dot(softmax(row), column(results as number[][], d)))
  }
  const values = numbers(found.y)
  expect(values).toHaveLength(tokens * width)
  for (const [i, value] of values.entries()) expect(value).toBeCloseTo(expected[i] as number, 6)
})

test('expert-choice-by-block takes a token whose probability reaches the c-th best of the block before', async () => {
  const [experts, k, sequence, sequences, width] = [4, 2, 40, 2, 5]
  const router = ownRouters.get(await loadPlugin('router', 'examples/routers/expert-choice-by-block.ts'))
  const { moe } = modelSchema.parse({ moe: { experts, k, prototypes: 1 } })
  if (!moe) throw new Error('no experts')
  const tokens = sequence * sequences
  const { expert_TK, gate_TK } = router.choose({
    moe,
    x_TD: input('x', 'float64', [tokens, width]),
    weights: { weight: input('weight', 'float64', [width, experts]) },
    tokens_T: input('tokens', 'int32', [tokens]),
    sequence,
    training: true,
    settings: {},
  })
  const program = await compileProgram(runtime, { expert: expert_TK, gate: gate_TK })
  const [x, weight] = [matrixOf(tokens, width), matrixOf(width, experts)]
  const found = await program.run({ x: x.flat(), weight: weight.flat() })
  program.release()
  const p = x.map((row) => softmax(times(row, weight)))
  // c = k·16/N = 8 tokens of a block of 16.
  const limitOf = (t: number, e: number): number => {
    const position = t % sequence
    if (position < 16) return 0
    const before = t - position + 16 * Math.floor(position / 16) - 16
    return p
      .slice(before, before + 16)
      .map((row) => row[e] as number)
      .sort((a, b) => b - a)[7] as number
  }
  let left = 0
  for (let t = 0; t < tokens; t++) {
    const taken = (p[t] as number[]).map((probability, e) => (probability >= limitOf(t, e) ? probability : 0))
    const best = taken
      .filter((gate) => gate > 0)
      .sort((a, b) => b - a)
      .slice(0, k)
    const gates = numbers(found.gate).slice(t * k, t * k + k)
    const chosen = numbers(found.expert).slice(t * k, t * k + k)
    expect(new Set(chosen).size).toBe(k)
    for (const [j, gate] of gates.entries()) {
      expect(gate).toBeCloseTo(best[j] ?? 0, 10)
      expect(gate).toBeCloseTo(taken[chosen[j] as number] as number, 10)
    }
    left += k - best.length
  }
  expect(left).toBeGreaterThan(0)
})

test.each([
  { by: 'token', rows: 9, renormalize: false, rowOf: (tokens: number[], t: number) => tokens[t] },
  { by: 'token', rows: 4, renormalize: false, rowOf: (tokens: number[], t: number) => (tokens[t] as number) % 4 },
  {
    by: 'before',
    rows: 9,
    renormalize: true,
    rowOf: (tokens: number[], t: number) => (t % 5 === 0 ? 0 : tokens[t - 1]),
  },
  { by: 'position', rows: 9, renormalize: true, rowOf: (_: number[], t: number) => t % 5 },
])('by-table takes the logits of row $by of $rows', async ({ by, rows, renormalize, rowOf }) => {
  const [experts, k, sequence, sequences] = [4, 2, 5, 2]
  const router = ownRouters.get(await loadPlugin('router', 'examples/routers/by-table.ts'))
  const { moe } = modelSchema.parse({ moe: { experts, k, prototypes: 1, renormalize } })
  if (!moe) throw new Error('no experts')
  const tokens = [3, 8, 1, 1, 0, 5, 2, 8, 7, 4]
  const { expert_TK, gate_TK } = router.choose({
    moe,
    x_TD: input('x', 'float64', [sequence * sequences, 3]),
    weights: { weight: input('weight', 'float64', [rows, experts]) },
    tokens_T: input('tokens', 'int32', [sequence * sequences]),
    sequence,
    training: true,
    settings: { by, rows },
  })
  const program = await compileProgram(runtime, { expert: expert_TK, gate: gate_TK })
  const table = matrixOf(rows, experts)
  const fed = { weight: table.flat(), ...(by !== 'position' && { tokens }) }
  const found = await program.run(fed)
  program.release()
  for (const t of tokens.keys()) {
    const p = softmax(table[rowOf(tokens, t) as number] as number[])
    const best = [...p.keys()].toSorted((a, b) => (p[b] as number) - (p[a] as number)).slice(0, k)
    const total = renormalize ? best.reduce((sum, e) => sum + (p[e] as number), 0) : 1
    expect(numbers(found.expert).slice(t * k, t * k + k)).toEqual(best)
    for (const [j, gate] of numbers(found.gate)
      .slice(t * k, t * k + k)
      .entries())
      expect(gate).toBeCloseTo((p[best[j] as number] as number) / total, 10)
  }
})

test('squared-variation is equations 6 and 7 of its paper in each group, and is 0 for equal gates', async () => {
  const [experts, k, tokens, groups] = [3, 2, 8, 2]
  const { loss } = ownBalances.get(await loadPlugin('balance', 'examples/losses/squared-variation.ts'))
  const { moe } = modelSchema.parse({ moe: { experts, k } })
  if (!moe) throw new Error('no experts')
  const shape = [tokens, 1, experts]
  const balance = loss({
    moe,
    logits_TZN: input('logits', 'float64', shape),
    probability_TZN: input('probability', 'float64', shape),
    expert_TK: input('expert', 'int32', [tokens, k]),
    gate_TK: input('gate', 'float64', [tokens, k]),
    count_GN: input('count', 'int32', [groups, experts]),
    groups,
  })
  const program = await compileProgram(runtime, { balance })
  const expert = Array.from({ length: tokens }, (_, t) => [t % experts, (t + 1 + (t % 2)) % experts])
  const gate = matrixOf(tokens, k).map((row) => row.map(Math.abs))
  const found = numbers((await program.run({ expert: expert.flat(), gate: gate.flat() })).balance)[0]
  const ofGroups = [0, 1].map((group) => {
    const importance = new Array<number>(experts).fill(0)
    for (let t = (group * tokens) / groups; t < ((group + 1) * tokens) / groups; t++)
      for (let j = 0; j < k; j++)
        importance[expert[t]?.[j] as number] =
          (importance[expert[t]?.[j] as number] as number) + (gate[t]?.[j] as number)
    const even = importance.reduce((a, b) => a + b) / experts
    return importance.reduce((total, each) => total + (each - even) ** 2, 0) / experts / even ** 2
  })
  expect(found).toBeCloseTo(((ofGroups[0] as number) + (ofGroups[1] as number)) / groups, 10)
  const even = { expert: Array.from({ length: tokens * k }, (_, i) => i % experts), gate: new Float64Array(tokens * k) }
  // Each group of 8 choices has an expert with two and two with three; gates make up for it.
  for (const i of even.expert.keys()) {
    const first = i < 8 ? even.expert.slice(0, 8) : even.expert.slice(8)
    even.gate[i] = 1 / first.filter((each) => each === even.expert[i]).length
  }
  expect(numbers((await program.run(even)).balance)[0]).toBeCloseTo(0, 12)
  program.release()
})
