/** @slow */
import { describe, expect, test } from 'vitest'
import type { ChoiceAttributes } from '../../../core/graph/kernels/token.ts'
import { integers, numbers } from '../testing/draws.ts'
import { runTwice } from '../testing/exact.ts'
import { runKernel, type TestCall, testDevice } from '../testing/run-kernel.ts'
import { result } from '../testing/tensors.ts'
import type { Kernel, Signature } from './contract.ts'
import { chooseExperts } from './routing/choose-experts.ts'
import { activateParts, expertRowProduct, rowProduct, rowProductTransposed, sumParts } from './token.ts'

const device = testDevice as NonNullable<typeof testDevice>

const floats = <Data extends ArrayLike<number>>(shape: readonly number[], data: Data) =>
  ({ dtype: 'float32', shape, data }) as const
const random = (shape: readonly number[], seed: number) =>
  floats(
    shape,
    numbers(
      shape.reduce((product, d) => product * d, 1),
      seed,
    ),
  )

interface Sum {
  value: number
  /** The sum of the absolute values of the terms. */
  size: number
}

/** Runs a kernel with one output twice: it must give the expected sums, and the same bits again. */
async function check<S extends Signature>(kernel: Kernel<S>, call: TestCall<S>, expected: readonly Sum[]) {
  const [y = new Float64Array()]: Float64Array[] = Object.values(await runTwice(kernel, call))
  expect(y.length).toBe(expected.length)
  expected.forEach(({ value, size }, i) => {
    // Sums have a few hundred terms: the error is at most 1e-7 for each level of the tree and of each lane's loop.
    if (!(Math.abs((y[i] as number) - value) <= 3e-6 * size + 1e-7)) expect.fail(`${y[i]} at ${i}, expected ${value}`)
  })
}

const sum = (count: number, term: (i: number) => number): Sum => {
  const total = { value: 0, size: 0 }
  for (let i = 0; i < count; i++) {
    total.value += term(i)
    total.size += Math.abs(term(i))
  }
  return total
}

const bound = (rows: number, part: number, parts: number) => Math.floor((rows * part) / parts)

describe.skipIf(testDevice === null)('products of a row', () => {
  for (const [inner, columns, parts] of [
    [0, 4, 1],
    [1, 1, 1],
    [5, 3, 2],
    [130, 8, 3],
    [300, 77, 2],
    [259, 132, 7],
  ] as const)
    test(`row-product [1, ${inner}]·[${inner}, ${columns}] gives sums over ${parts} parts of the rows`, async () => {
      const [x, w] = [random([1, inner], 1), random([inner, columns], 2)]
      const expected = Array.from({ length: parts * columns }, (_, i) => {
        const [part, column] = [Math.floor(i / columns), i % columns]
        const from = bound(inner, part, parts)
        return sum(
          bound(inner, part + 1, parts) - from,
          (r) => (x.data[from + r] as number) * (w.data[(from + r) * columns + column] as number),
        )
      })
      await check(rowProduct, { inputs: { x, w }, outputs: { parts: result(parts, columns) } }, expected)
    })

  for (const [inner, count] of [
    [0, 3],
    [1, 1],
    [7, 5],
    [64, 300],
    [515, 9],
    [516, 33],
  ] as const)
    test(`row-product-transposed gives [1, ${inner}]·[${count}, ${inner}]ᵀ`, async () => {
      const [x, w] = [random([1, inner], 1), random([count, inner], 2)]
      const expected = Array.from({ length: count }, (_, n) =>
        sum(inner, (i) => (x.data[i] as number) * (w.data[n * inner + i] as number)),
      )
      await check(rowProductTransposed, { inputs: { x, w }, outputs: { y: result(1, count) } }, expected)
    })

  for (const [rows, inner, columns, parts] of [
    [1, 9, 5, 1],
    [1, 270, 36, 2],
    [3, 33, 4, 2],
  ] as const)
    test(`expert-row-product of ${rows} rows with 3 of 5 matrices [${inner}, ${columns}], in ${parts} parts`, async () => {
      const chosen = [4, 0, 2]
      const [x, w] = [random([rows, inner], 1), random([5, inner, columns], 2)]
      // The matrices of other experts must not be read.
      for (const other of [1, 3]) w.data.fill(Number.NaN, other * inner * columns, (other + 1) * inner * columns)
      const expected = Array.from({ length: 3 * parts * columns }, (_, i) => {
        const [choice, part, column] = [Math.floor(i / columns / parts), Math.floor(i / columns) % parts, i % columns]
        const from = bound(inner, part, parts)
        const expert = chosen[choice] as number
        return sum(bound(inner, part + 1, parts) - from, (r) => {
          const row = from + r
          const factor = x.data[(rows > 1 ? choice * inner : 0) + row] as number
          return factor * (w.data[(expert * inner + row) * columns + column] as number)
        })
      })
      const experts = { dtype: 'int32', shape: [1, 3], data: chosen } as const
      const inputs = { rows: x, experts, matrices: w }
      await check(expertRowProduct, { inputs, outputs: { parts: result(3 * parts, columns) } }, expected)
    })

  test('have nothing to do without experts or without columns', async () => {
    const experts = { dtype: 'int32', shape: [1, 0], data: [] } as const
    const [x, matrices] = [random([1, 8], 1), random([2, 8, 4], 2)]
    await check(expertRowProduct, { inputs: { rows: x, experts, matrices }, outputs: { parts: result(0, 4) } }, [])
    await check(rowProduct, { inputs: { x, w: floats([8, 0], []) }, outputs: { parts: result(1, 0) } }, [])
    await check(rowProductTransposed, { inputs: { x, w: floats([0, 8], []) }, outputs: { y: result(1, 0) } }, [])
  })
})

describe.skipIf(testDevice === null)('sums of parts', () => {
  for (const weighted of [false, true])
    for (const hasAddend of [false, true])
      test(`sum-parts adds 6 parts${weighted ? ', scaled by the weights of 2 groups' : ''}${hasAddend ? ', to an addend' : ''}`, async () => {
        const columns = 70
        const [parts, weights, addend] = [random([6, columns], 1), random([1, 2], 2), random([1, columns], 3)]
        const expected = Array.from({ length: columns }, (_, i) =>
          sum(hasAddend ? 7 : 6, (r) => {
            if (r === 6) return addend.data[i] as number
            return (
              (weighted ? (weights.data[Math.floor(r / 3)] as number) : 1) * (parts.data[r * columns + i] as number)
            )
          }),
        )
        const call = {
          attributes: { rows: 1 },
          inputs: { parts, weights: weighted ? weights : undefined },
          outputs: { sum: result(1, columns) },
          addends: { sum: hasAddend ? addend : undefined },
        }
        await check(sumParts, call, expected)
      })

  const erf = (x: number): number => {
    // The integral of the density by Simpson's rule.
    const steps = 2000
    const f = (i: number) => Math.exp(-(((x * i) / steps) ** 2))
    let total = f(0) + f(steps)
    for (let i = 1; i < steps; i++) total += (i % 2 === 1 ? 4 : 2) * f(i)
    return ((2 / Math.sqrt(Math.PI)) * total * x) / steps / 3
  }

  for (const gated of [false, true])
    test(`activate-parts is ${gated ? 'swish(Σ gate)·Σ part' : 'gelu(Σ part)'} of each group`, async () => {
      const [groups, perGroup, columns] = [3, 2, 37]
      const shape = [groups * perGroup, columns]
      const [parts, gate] = [random(shape, 1), random(shape, 2)]
      const total = (data: ArrayLike<number>, i: number) =>
        sum(perGroup, (p) => data[(Math.floor(i / columns) * perGroup + p) * columns + (i % columns)] as number).value
      const expected = Array.from({ length: groups * columns }, (_, i) => {
        const [x, g] = [total(parts.data, i), total(gate.data, i)]
        return { value: gated ? (g / (1 + Math.exp(-g))) * x : 0.5 * x * (1 + erf(x * Math.SQRT1_2)), size: 1 }
      })
      const call = {
        attributes: { choices: groups },
        inputs: { up: parts, gate: gated ? gate : undefined },
        outputs: { active: result(groups, columns) },
      }
      await check(activateParts, call, expected)
    })
})

describe.skipIf(testDevice === null)('choose-experts', () => {
  const plain: ChoiceAttributes = {
    ...{ prototypes: 1, k: 1, after: 0, sigmoid: 0, renormalize: 0 },
    ...{ groups: 1, groupsPerToken: 1, pair: 0, scale: { float: 1 } },
  }

  const softmax = (x: readonly number[]) => {
    const highest = Math.max(...x)
    const powers = x.map((value) => Math.exp(value - highest))
    const total = powers.reduce((a, b) => a + b, 0)
    return powers.map((power) => power / total)
  }

  function expected(logits: readonly number[], bias: readonly number[] | null, rule: ChoiceAttributes) {
    const { prototypes, k, after, sigmoid, renormalize, groups, groupsPerToken, pair, scale } = rule
    const width = logits.length / prototypes
    const size = width / groups
    const [experts, gates]: [number[], number[]] = [[], []]
    for (let first = 0; first < logits.length; first += width) {
      const own = logits.slice(first, first + width)
      const values = sigmoid ? own.map((x) => 1 / (1 + Math.exp(-x))) : after ? own : softmax(own)
      const scores = values.map((value, i) => value + (bias?.[first + i] ?? 0))
      const worth = Array.from({ length: groups }, (_, g) => {
        const [best = 0, second = 0] = scores.slice(g * size, (g + 1) * size).sort((a, b) => b - a)
        return pair ? best + second : best
      })
      const best = Array.from(worth.keys()).sort((a, b) => (worth[b] as number) - (worth[a] as number) || a - b)
      const isAllowed = (i: number) => best.slice(0, groupsPerToken).includes(Math.floor(i / size))
      const order = Array.from(scores.keys())
        .filter(isAllowed)
        .sort((a, b) => (scores[b] as number) - (scores[a] as number) || a - b)
      const chosen = order.slice(0, k)
      const picked = chosen.map((i) => values[i] as number)
      const gate = after ? softmax(picked) : picked
      const total = renormalize ? gate.reduce((a, b) => a + b, 0) : 1
      experts.push(...chosen.map((i) => first + i))
      gates.push(...gate.map((value) => (value / total) * scale.float))
    }
    return { experts, gates }
  }

  async function check(logits: readonly number[], bias: readonly number[] | null, rule: ChoiceAttributes) {
    const shape = [1, rule.prototypes * rule.k]
    const { experts, gates } = await runKernel(device, chooseExperts, {
      attributes: rule,
      inputs: { logits: floats([1, logits.length], logits), bias: bias ? floats([bias.length], bias) : undefined },
      outputs: { experts: { dtype: 'int32', shape }, gates: result(...shape) },
    })
    const want = expected(logits, bias, rule)
    expect(Array.from(experts)).toEqual(want.experts)
    gates.forEach((gate, i) => {
      // The errors are of exp of numbers near 1, and of two quotients.
      expect(Math.abs(gate - (want.gates[i] as number))).toBeLessThanOrEqual(3e-6 * (want.gates[i] as number))
    })
  }

  // Logits are multiples of 1/16, so that some are equal.
  const some = (count: number, seed: number) => Array.from(integers(count, 64, seed), (x) => x / 16 - 2)

  // The cases have every pair of values of the three settings.
  for (const [after, renormalize, hasBias] of [
    [0, 0, false],
    [0, 1, true],
    [1, 0, true],
    [1, 1, false],
  ] as const)
    test(`follows the rule with softmax ${after ? 'after' : 'before'}${renormalize ? ', renormalized' : ''}${hasBias ? ', by biased scores' : ''}`, async () => {
      // With a bias, scores are different whatever the rounding.
      const [logits, bias] = hasBias ? [Array.from(numbers(24, 3)), Array.from(numbers(24, 4))] : [some(24, 3), null]
      await check(logits, bias, { ...plain, prototypes: 2, k: 3, after, renormalize })
    })

  test('chooses the only expert, all experts, and some of more experts than a workgroup has invocations', async () => {
    await check([0.5], null, plain)
    await check([1, 3, 2, 3], null, { ...plain, k: 4, renormalize: 1 })
    await check(some(700, 5), null, { ...plain, k: 8, after: 1 })
  })

  test('chooses by sigmoids, in the best groups, and scales the gates', async () => {
    const sigmoid = { ...plain, sigmoid: 1, scale: { float: 2.5 } } as const
    await check([-200, 200, 0], null, { ...sigmoid, k: 2, renormalize: 1 })
    await check(some(24, 3), null, { ...sigmoid, prototypes: 2, k: 3 })
    // Some groups are equal.
    await check(some(24, 3), null, { ...sigmoid, k: 5, groups: 8, groupsPerToken: 3 })
    for (const [pair, by] of [
      [0, plain],
      [1, sigmoid],
      [0, { ...plain, after: 1 }],
    ] as const) {
      const [logits, bias] = [Array.from(numbers(24, 3)), Array.from(numbers(24, 4))]
      await check(logits, bias, { ...by, k: 4, groups: 4, groupsPerToken: 2, pair, renormalize: pair })
    }
    // More groups than a workgroup has invocations.
    await check(Array.from(numbers(600, 6)), null, { ...plain, k: 8, groups: 300, groupsPerToken: 6, pair: 1 })
  })

  test('chooses distinct experts in range if logits are NaN', async () => {
    const logits = new Float32Array(8).fill(Number.NaN)
    const { experts } = await runKernel(device, chooseExperts, {
      attributes: { ...plain, prototypes: 2, k: 3, renormalize: 1 },
      inputs: { logits: floats([1, 8], logits) },
      outputs: { experts: { dtype: 'int32', shape: [1, 6] }, gates: result(1, 6) },
    })
    expect(Array.from(experts)).toEqual([0, 1, 2, 4, 5, 6])
  })
})
