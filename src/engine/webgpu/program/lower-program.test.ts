/** The dispatches that a program becomes. The tests of every op and model check that they compute the right numbers. */
import { describe, expect, test } from 'vitest'
import { add, exp, multiply } from '../../../core/graph/ops/elementwise.ts'
import { expertLinearKernel } from '../../../core/graph/ops/expert.ts'
import { softmax } from '../../../core/graph/ops/fused.ts'
import { scatterAlong } from '../../../core/graph/ops/indexing.ts'
import { matmul } from '../../../core/graph/ops/matmul.ts'
import { topK } from '../../../core/graph/ops/order.ts'
import { sum } from '../../../core/graph/ops/reduction.ts'
import { reshape, transpose } from '../../../core/graph/ops/shape.ts'
import { defineOp, emit } from '../../../core/graph/own-op.ts'
import { constant, input, scope, type Tensor, withKernels } from '../../../core/graph/tensor.ts'
import { graphKernels, nodeKernels } from '../kernels/table.ts'
import { lowerProgram } from './lower-program.ts'

const lower = (outputs: Readonly<Record<string, Tensor>>) => lowerProgram({ outputs }, nodeKernels)
const namesOf = (outputs: Readonly<Record<string, Tensor>>) => lower(outputs).steps.map(({ dispatch }) => dispatch.name)
const x = (name: string, ...shape: number[]) => input(name, 'float32', shape)

describe('groups that do not need each other', () => {
  test('share a dispatch, whatever their sizes', () => {
    const outputs = { a: exp(x('a', 100)), b: sum(x('b', 300, 70), { axes: [1] }), c: add(x('c', 5, 5), 1) }
    expect(namesOf(outputs)).toHaveLength(1)
  })

  test('move across dispatches that lie between them', () => {
    const between = matmul(x('m', 64, 64), exp(x('n', 64, 64)))
    expect(namesOf({ y: exp(add(between, 1)), z: exp(x('z', 30)) })).toHaveLength(3)
  })

  test('do not share a dispatch if they are large', () => {
    expect(namesOf({ a: exp(x('a', 2 ** 20)), b: exp(x('b', 2 ** 19 + 1)) })).toHaveLength(2)
  })

  test('do not share a dispatch if it would have more operands than every device binds', () => {
    const outputs = Object.fromEntries(Array.from({ length: 5 }, (_, i) => [`y${i}`, exp(x(`x${i}`, 10 + i))]))
    expect(namesOf(outputs)).toHaveLength(2)
    expect(Math.max(...lower(outputs).steps.map(({ values }) => values.length))).toBe(8)
  })
})

test('a group that needs another comes after it', () => {
  const first = sum(x('a', 50, 10), { axes: [0] })
  expect(namesOf({ first, second: sum(multiply(first, 2)) })).toHaveLength(2)
})

test('a node that changes no memory needs no dispatch', () => {
  const moved = transpose(reshape(x('x', 8, 4), [1, 8, 1, 4]), [1, 0, 3, 2])
  const [, positions] = topK(multiply(reshape(moved, [8, 4]), 1), 2)
  expect(namesOf({ positions: add(positions, constant(0, 'int32')) })).toEqual(['TopK'])
})

test('an operator that only an op of a caller has is refused with its name, and with what to do', () => {
  const own = defineOp('own', (a: Tensor) => ({
    result: emit('Hardmax', [a], { shape: a.shape }),
    inputs: [a],
    gradient: () => [undefined],
  }))
  const y = scope('layers.1', () => own(x('x', 4)))
  expect(() => lower({ y })).toThrow(
    'the operator Hardmax of own, in layers.1, does not run on a GPU (compute on the CPU, or make the op of others)',
  )
})

test('equal maps and reductions are computed once', () => {
  const logits = x('logits', 100, 16)
  const once = () => add(softmax(logits), 1)
  const exponentials = lower({ y: multiply(once(), once()) }).steps.map(
    ({ dispatch }) => dispatch.code(['b0', 'b1']).match(/exp\(/g)?.length,
  )
  // One exp is for the sum of a row, and one for its elements.
  expect(exponentials).toEqual([2])
})

test('a scatter of few updates is computed in the expression that reads it', () => {
  const indices = input('indices', 'int32', [100, 2])
  const scattered = scatterAlong(x('updates', 100, 2), indices, 1, 8)
  expect(namesOf({ y: multiply(scattered, x('factor', 100, 8)) })).toHaveLength(1)
})

test('products of the same experts share the tiles of their rows', () => {
  const kernels = { names: new Set(Object.keys(graphKernels)), tile: 1, threads: 1, parts: 16 }
  const sizes = input('sizes', 'int64', [4])
  const outputs = withKernels(kernels, () => {
    const product = (name: string) => expertLinearKernel(x(`rows ${name}`, 30, 8), x(`w ${name}`, 3, 8, 8), sizes)
    return { a: product('a'), b: product('b') }
  })
  expect(namesOf(outputs)).toEqual(['row tiles of experts', 'rows of experts', 'rows of experts'])
})
