/** The choice of values of a program that are f16 in memory. Programs are planned without a device. */
import { describe, expect, test } from 'vitest'
import { add, multiply, sigmoid } from '../../../core/graph/ops/elementwise.ts'
import { erfGate, rmsNorm, softmax } from '../../../core/graph/ops/fused.ts'
import { gradient } from '../../../core/graph/ops/gradient.ts'
import { takeAlong } from '../../../core/graph/ops/indexing.ts'
import { matmul } from '../../../core/graph/ops/matmul.ts'
import { topK } from '../../../core/graph/ops/order.ts'
import { mean } from '../../../core/graph/ops/reduction.ts'
import { reshape } from '../../../core/graph/ops/shape.ts'
import { input, type Tensor, withKernels } from '../../../core/graph/tensor.ts'
import type { MoeConfig } from '../../../core/model/config/moe-config.ts'
import { inBestGroups } from '../../../core/model/routing/selection.ts'
import { graphKernels, nodeKernels } from '../kernels/table.ts'
import { moduleOf } from '../module.ts'
import { type LoweredProgram, lowerProgram, type Value } from './lower-program.ts'

const [rows, width] = [96, 64]
const kernels = { names: new Set(Object.keys(graphKernels)), tile: 1, threads: 1, parts: 1 }

const lowered = (math: 'float32' | 'f16', build: () => Readonly<Record<string, Tensor>>): LoweredProgram =>
  lowerProgram({ outputs: withKernels(kernels, build) }, nodeKernels, math)

const weight = (name: string, columns = width) => input(name, 'float32', [width, columns])

/** A residual network after a norm, and a choice among its results. */
function network() {
  const stream = multiply(input('x', 'float32', [rows, width]), 2)
  const normed = rmsNorm(stream, input('norm', 'float32', [width]), 1e-5)
  const active = erfGate(matmul(normed, weight('up')))
  const out = add(stream, matmul(active, weight('down')))
  const probabilities = softmax(matmul(rmsNorm(out, input('norm 2', 'float32', [width]), 1e-5), weight('router', 8)))
  return { out, probabilities }
}

const dtypesOf = (program: LoweredProgram, step: number): string[] =>
  program.steps[step]?.values.map((value) => (program.values[value] as Value).dtype) ?? []

/**
 * The types of the numbers in memory that the dispatches of an op and a name read and write, one list for each
 * dispatch.
 */
const memoryOf = (program: LoweredProgram, op: string, name: RegExp): string[][] =>
  program.steps.flatMap(({ dispatch, origin }, step) =>
    origin.op === op && name.test(dispatch.name) ? [dtypesOf(program, step)] : [],
  )

const codeOf = (program: LoweredProgram): string =>
  program.steps
    .map(({ dispatch, values }) =>
      moduleOf(
        dispatch,
        values.map((_, v) => v),
      ),
    )
    .join()

describe('with math f16', () => {
  test('activations between products are f16; the residual stream, statistics and a softmax are float32', () => {
    const program = lowered('f16', network)
    // The operands are x, weight, y, and 1 / root mean square.
    expect(memoryOf(program, 'rms-norm', /rms-norm/)).toEqual([
      ['float32', 'float32', 'float16', 'float32'],
      ['float32', 'float32', 'float16', 'float32'],
    ])
    // The operands are factors and result; the second product also adds to the stream, and the third gives the logits.
    expect(memoryOf(program, 'matmul', /product/)).toEqual([
      ['float16', 'float32', 'float16'],
      ['float16', 'float32', 'float32', 'float32'],
      ['float16', 'float32', 'float32'],
    ])
    expect(memoryOf(program, 'erf-gate', /./)).toEqual([['float16', 'float16']])
    expect(program.bytes).toBeLessThan(lowered('float32', network).bytes)
  })

  test('logits and scores of a router are float32, sigmoids and the scores of groups too', () => {
    const router = { logits: weight('router', 8), moe: { expertGroups: 4, groupsPerToken: 2, groupScore: 'top-2' } }
    const program = lowered('f16', () => {
      const normed = rmsNorm(input('x', 'float32', [rows, width]), input('norm', 'float32', [width]), 1e-5)
      const scores = sigmoid(matmul(normed, router.logits))
      const [, experts] = topK(inBestGroups(reshape(scores, [rows, 1, 8]), router.moe as MoeConfig), 2)
      return { gates: multiply(takeAlong(scores, reshape(experts, [rows, 2]), 1), 2.5) }
    })
    expect(memoryOf(program, 'matmul', /product/)).toEqual([['float16', 'float32', 'float32']])
    const chosen = program.steps.flatMap(({ origin }, step) =>
      ['sigmoid', 'max', 'where', 'top-k', 'sum', 'take-along'].includes(origin.op) ? dtypesOf(program, step) : [],
    )
    expect(chosen).not.toContain('float16')
  })

  test('gradients of activations are f16, gradients of parameters float32', () => {
    const program = lowered('f16', () => {
      const parameters = [weight('up'), weight('down')] as const
      const normed = rmsNorm(input('x', 'float32', [rows, width]), input('norm', 'float32', [width]), 1e-5)
      const out = matmul(erfGate(matmul(normed, parameters[0])), parameters[1])
      const [up, down] = gradient(mean(multiply(out, out)), parameters)
      return { up: up as Tensor, down: down as Tensor }
    })
    const products = memoryOf(program, "matmul'", /product/)
    expect(products).toContainEqual(['float16', 'float32', 'float16'])
    expect(products).toContainEqual(['float16', 'float16', 'float32'])
  })

  test('a value that a reduction reads too stays float32', () => {
    const program = lowered('f16', () => {
      const hidden = matmul(
        rmsNorm(input('x', 'float32', [rows, width]), input('n', 'float32', [width]), 1e-5),
        weight('a'),
      )
      return { y: matmul(erfGate(hidden), weight('b')), mean: mean(hidden) }
    })
    expect(memoryOf(program, 'matmul', /product/)[0]).toEqual(['float16', 'float32', 'float32'])
  })

  test('no value is f16 if math is float32 instead', () => {
    const program = lowered('float32', network)
    expect(program.values.filter(({ dtype }) => dtype === 'float16')).toEqual([])
    expect(codeOf(program)).not.toContain('f16')
    expect(codeOf(lowered('f16', network))).toContain('enable f16;')
  })
})

describe('results of products that are multiplied by a constant', () => {
  const scaled = (factor: number | null, twice = false) => {
    const program = lowered('float32', () => {
      const y = matmul(input('x', 'float32', [rows, width]), weight('w'), { alpha: 3 })
      const before = input('before', 'float32', [rows, width])
      const all = factor === null ? y : multiply(y, factor)
      return { y: add(before, all), ...(twice && { other: multiply(y, 5) }) }
    })
    return { dispatches: program.steps.length, code: codeOf(program) }
  }

  test('need no dispatch for a power of two, with an addend too', () => {
    expect(scaled(null).code).toContain('f32(3) * value + read_addend')
    expect(scaled(2 ** -7)).toMatchObject({ dispatches: 1 })
    expect(scaled(2 ** -7).code).toContain(`f32(${3 * 2 ** -7}) * value + read_addend`)
  })

  test('are multiplied in their own dispatch if the bits would differ, or something else reads the product', () => {
    expect(scaled(0.3).dispatches).toBe(2)
    expect(scaled(2 ** -7, true).dispatches).toBeGreaterThan(1)
  })
})
