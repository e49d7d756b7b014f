/** Compares the gradient of every op in the registry, in float64, with central finite differences. */
import { describe, expect, test } from 'vitest'
import { registry } from '../src/core/graph/tensor.ts'
import { checkGradient } from './support/gradient-check.ts'
import { opCases } from './support/op-cases.ts'

const cases = opCases('float64')

describe('gradients agree with finite differences in float64', () => {
  test('every differentiable op has a check, and every check has an op', () => {
    // Ops of the family `kernel` are float32 only; kernels.test.ts checks them.
    const differentiable = [...registry.values()]
      .filter((op) => op.differentiable && op.family !== 'kernel')
      .map((op) => op.name)
    expect(Object.keys(cases).sort()).toEqual(differentiable.sort())
  })

  for (const [name, list] of Object.entries(cases))
    test(name, async () => {
      expect(list.length).toBeGreaterThan(0)
      for (const [i, { inputs, build }] of list.entries()) await checkGradient(inputs, build, { seed: i + 1 })
    })
})
