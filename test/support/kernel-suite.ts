/**
 * The conformance suite of kernels. It checks results and gradients of every kernel in
 * src/engine/cpu/staged/kernels, through the ops that use it, against the same function in float64 without kernels.
 * It is called with each library of primitives.
 */
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { linearCrossEntropies, linearCrossEntropy } from '../../src/core/graph/ops/cross-entropy.ts'
import { combineRagged, dispatch, dispatchRagged, expertFfnKernel } from '../../src/core/graph/ops/expert.ts'
import { gradient } from '../../src/core/graph/ops/gradient.ts'
import { sum } from '../../src/core/graph/ops/reduction.ts'
import { cut } from '../../src/core/graph/stages/cut.ts'
import { constant, input, registry, type Tensor, withKernels } from '../../src/core/graph/tensor.ts'
import type { Runtime } from '../../src/engine/contract/runtime.ts'
import { createRuntime } from '../../src/engine/cpu/cpu-runtime.ts'
import { opKernels } from '../../src/engine/cpu/staged/kernels/table.ts'
import { testRandom } from './gradient-check.ts'
import { type Order, runWithOrder } from './in-process-crew.ts'
import { expertCase, expertLinearCase } from './kernel-cases.ts'
import {
  checkCase,
  compileWith,
  draw,
  exactValues,
  expectSameBits,
  type KernelCase,
  poison,
  runOnce,
  trace,
} from './kernel-check.ts'
import { drawn, special } from './kernel-shapes.ts'

/** float32 rounds by 6e-8; sums of a few thousand terms with a softmax in between stay within this. */
const ROUNDING = 2e-5

/** Ops that need other ranks; test/end-to-end/ranks.test.ts compares them with one process. */
const ofRanks = ['arrive', 'all-to-all-sizes', 'send-rows']

export function checkKernels(): void {
  test('every kernel and every op of the family `kernel` is checked', () => {
    const checked = new Set(Object.values(special).flatMap((cases) => cases.flatMap((given) => given.kernels)))
    // kernels-bf16.test.ts checks `round`, which exists with bf16 math only.
    const local = Object.entries(opKernels).filter(([name, { provider }]) => provider !== 'MPI' && name !== 'round')
    expect([...checked].sort()).toEqual(local.map(([name]) => name).sort())
    const kernelOps = [...registry.values()].filter(({ family }) => family === 'kernel').map(({ name }) => name)
    expect(kernelOps.length).toBeGreaterThan(0)
    expect(Object.keys(special)).toEqual(expect.arrayContaining(kernelOps.filter((name) => !ofRanks.includes(name))))
  })

  let single: Runtime
  let crew: Runtime
  let fillWithNaN: () => Promise<void>

  beforeAll(async () => {
    single = await createRuntime({ threads: 1 })
    crew = await createRuntime({ threads: 3 })
    fillWithNaN = await poison(crew)
  })
  afterAll(async () => {
    await crew.close()
    await single.close()
  })

  for (const [op, cases] of Object.entries(special)) {
    test(`${op}: special shapes and numbers, on one thread and on three`, async () => {
      for (const [i, given] of cases.entries()) {
        const expected = await exactValues(given, i + 1, single)
        const options = { tolerance: ROUNDING, seed: i + 1, reference: single, expected }
        await checkCase(given, crew, { ...options, before: fillWithNaN })
        await checkCase(given, single, options)
      }
    })

    test(`${op}: random shapes`, () =>
      fc.assert(
        fc.asyncProperty(
          drawn[op] as fc.Arbitrary<KernelCase>,
          fc.integer({ min: 1, max: 1e6 }),
          async (given, seed) => {
            await checkCase(given, crew, { tolerance: ROUNDING, seed, reference: single, before: fillWithNaN })
          },
        ),
        { numRuns: 6 },
      ))

    test(`${op}: the result does not depend on which thread runs a task, or when`, async () => {
      for (const [i, given] of cases.entries()) {
        const seed = i + 1
        const program = withKernels(crew.kernels, () => trace({ ...given, accumulate: false }, 'float32', seed))
        if (given.kernels.length === 0) continue
        const values = draw(given, seed)
        const expected = await runOnce(crew, program, values)
        for (const [name, order] of Object.entries(orders(seed)))
          expectSameBits(await runWithOrder(crew, cut(program), values, order), expected, `case ${i}, ${name}`)
      }
    })
  }

  test('results other than matrix products do not depend on the number of threads', async () => {
    for (const given of [
      ...(special.routing ?? []),
      ...(special['rms-norm'] ?? []),
      ...(special['attention-kernel'] ?? []),
    ]) {
      const model = cut(withKernels(crew.kernels, () => trace(given, 'float32', 1)))
      const values = draw(given, 1)
      const one = await runWithOrder(single, model, values, firstToLast, 1)
      expectSameBits(await runWithOrder(single, model, values, firstToLast, 5), one, 'on five threads')
    }
  })

  test('gradients of weights are added in the order of the tree, by one task or by several', async () => {
    for (const [sources, experts] of [
      [2, 3],
      [4, 3],
      [6, 2],
      [8, 4],
    ] as const) {
      const rows = Array.from({ length: sources * experts }, (_, group) => (group * 7) % 11)
      for (const given of [
        expertCase({ rows, sources, width: 19, hidden: 21, gated: true }),
        expertLinearCase({ rows, sources, width: 19, hidden: 21 }),
      ]) {
        const values = draw(given, sources)
        const results = [1, 2, 3, 4, 100].map((threads) => {
          const program = withKernels({ ...crew.kernels, threads }, () => trace(given, 'float32', 1))
          return runOnce(crew, program, values)
        })
        const first = (await results[0]) as Awaited<(typeof results)[number]>
        for (const [i, result] of results.entries())
          expectSameBits(await result, first, `${sources} sources, ${experts} experts, ${i}`)
      }
    }
  })

  test('a target is greedy if no logit is larger, and never if it is not counted', async () => {
    const [rows, width, vocabulary] = [70, 3, 9]
    const random = testRandom(5)
    const integers = (count: number) => Float32Array.from({ length: count }, () => Math.floor(random() * 5) - 2)
    const [x, head] = [integers(rows * width), integers(vocabulary * width)]
    const targets = Int32Array.from({ length: rows }, () => Math.floor(random() * (vocabulary + 2)) - 2)
    const build = () => ({
      outputs: {
        greedy: linearCrossEntropies(
          input('x', 'float32', [rows, width]),
          input('head', 'float32', [vocabulary, width]),
          input('targets', 'int32', [rows]),
        )[2],
      },
    })
    const expected = [...targets].map((target, t) => {
      const logits = Array.from({ length: vocabulary }, (_, v) =>
        [0, 1, 2].reduce((sum, d) => sum + (x[t * width + d] as number) * (head[v * width + d] as number), 0),
      )
      return target >= 0 && logits[target] === Math.max(...logits) ? 1 : 0
    })
    expect(new Set(expected)).toEqual(new Set([0, 1]))
    for (const program of [build(), withKernels(crew.kernels, build)]) {
      const { greedy } = await runOnce(crew, program, { x, head, targets })
      expect([...(greedy as Int32Array)]).toEqual(expected)
    }
  })

  test('a target outside the vocabulary is refused instead of read past the end of a row', async () => {
    const program = withKernels(crew.kernels, () => ({
      outputs: {
        loss: linearCrossEntropy(
          input('x', 'float32', [3, 2]),
          input('head', 'float32', [4, 2]),
          input('t', 'int32', [3]),
        ),
      },
    }))
    const values = { x: new Float32Array(6), head: new Float32Array(8), t: Int32Array.of(0, -1, 4) }
    await expect(runOnce(crew, program, values)).rejects.toThrow(/^failed to run in linear-cross-entropy: .*target: 4/)
  })

  test('the sizes of experts may be an input and also an output', async () => {
    const executable = await compileWith(
      crew,
      withKernels(crew.kernels, () => {
        const given = input('given', 'int64', [3])
        const weights = { up: constant([1, 2], 'float32', [2, 1, 1]), down: constant([3, 4], 'float32', [2, 1, 1]) }
        const x = input('x', 'float32', [4, 1])
        const y = expertFfnKernel(x, weights, given)
        return { outputs: { y, dx: gradient(sum(y), [x])[0] as Tensor, sizes: given } }
      }),
    )
    const ports = { given: BigInt64Array.of(1n, 2n, 1n), x: Float32Array.of(9, 9, 9, 9) }
    const results = { y: new Float32Array(4), dx: new Float32Array(4), sizes: new BigInt64Array(3) }
    await executable.bind({ ...ports, ...results }).run()
    executable.release()
    // gelu(9) is 9 and gelu(18) is 18, in float32.
    for (const [i, value] of [27, 72, 72].entries()) expect(results.y[i]).toBeCloseTo(value, 4)
    for (const [i, value] of [3, 8, 8].entries()) expect(results.dx[i]).toBeCloseTo(value, 4)
    expect(results.sizes).toEqual(ports.given)
  })

  test('ragged rows, whose number is unknown to kernels, stay with ONNX Runtime', async () => {
    const program = withKernels(crew.kernels, () => {
      const index = constant([1, 0, 2], 'int32')
      const slotOfAssignment = constant([1, 0, 2], 'int32', [3, 1])
      const plan = {
        tokenOfSlot: index,
        assignmentOfSlot: index,
        slotOfAssignment,
        sizes: constant([1, 2, 0], 'int64'),
      }
      const [x, gate] = [input('x', 'float32', [3, 2]), input('gate', 'float32', [3, 1])]
      const y = combineRagged(dispatchRagged(x, plan), gate, plan)
      const [dx, dGate] = gradient(sum(y), [x, gate]) as [Tensor, Tensor]
      // `dispatch` gives the program a kernel.
      return { outputs: { y: dispatch(y, plan), dx, dGate } }
    })
    const { y, dx, dGate } = await runOnce(crew, program, {
      x: Float32Array.of(1, 2, 3, 4, 5, 6),
      gate: Float32Array.of(2, 3, 5),
    })
    expect([...(y ?? [])]).toEqual([9, 12, 2, 4, 25, 30])
    expect([...(dx ?? [])]).toEqual([2, 2, 3, 3, 5, 5])
    expect([...(dGate ?? [])]).toEqual([3, 7, 11])
  })
}

const firstToLast: Order = (tasks) => Array.from({ length: tasks }, (_, task) => ({ task, thread: 0 }))
const orders = (seed: number): Record<string, Order> => {
  const random = testRandom(seed)
  return {
    'from the last': (tasks) => Array.from({ length: tasks }, (_, i) => ({ task: tasks - 1 - i, thread: i % 3 })),
    'at random': (tasks) =>
      Array.from({ length: tasks }, (_, task) => ({ task, thread: Math.floor(random() * 3), key: random() })).sort(
        (a, b) => a.key - b.key,
      ),
  }
}
