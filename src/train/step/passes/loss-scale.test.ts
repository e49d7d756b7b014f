import { expect, test } from 'vitest'
import { lossScale } from './loss-scale.ts'

test('a loss is scaled by a power of two, in proportion to the tokens of a step', () => {
  for (const tokens of [1, 96, 128, 65536]) {
    const scale = lossScale('f16', tokens)
    expect(Number.isInteger(Math.log2(scale))).toBe(true)
    expect(scale / tokens).toBeGreaterThan(8)
    expect(scale / tokens).toBeLessThanOrEqual(16)
  }
})

test('a loss is not scaled in a precision with the range of float32', () => {
  expect([lossScale('float32', 65536), lossScale('bf16', 65536)]).toEqual([1, 1])
})
