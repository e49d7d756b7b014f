import { expect, test } from 'vitest'
import type { Target } from './support/target.ts'
import { targetsText, verdict } from './targets.ts'

const speed = (...values: number[]): Target => ({
  name: 'speed',
  shape: 'S',
  bound: 'min',
  required: 1.1,
  aim: 1.5,
  figures: values.map((value, i) => ({ value, routing: `routing ${i}` })),
  expected: 2,
  show: (value) => value.toFixed(2),
  command: 'measure it',
})

test('the worst routing decides whether a target is met', () => {
  expect(verdict(speed(1.6, 1.5))).toBe('aim met')
  expect(verdict(speed(1.6, 1.1))).toBe('met')
  expect(verdict(speed(1.6, 1.09))).toBe('missed')
  expect(verdict({ ...speed(0.7, 0.8), bound: 'max', required: 1, aim: 0.8 })).toBe('aim met')
  expect(verdict({ ...speed(0.7, 1.01), bound: 'max', required: 1, aim: 0.8 })).toBe('missed')
})

test('a target with missing measurements is not met, and the command that measures it is printed', () => {
  expect(verdict(speed())).toBe('not measured')
  expect(verdict(speed(2))).toBe('not all measured')
  expect(verdict(speed(1))).toBe('missed')
  expect(targetsText([speed(2)])).toContain('measure it')
  expect(targetsText([speed(2, 2)])).not.toContain('measure it')
})

test('a range runs from the lowest to the highest value, followed by the worst routing', () => {
  expect(targetsText([speed(1.31, 1.12)])).toMatch(/1\.12 \.\. 1\.31 +met +routing 1$/m)
  expect(targetsText([{ ...speed(1.31, 1.12), bound: 'max' }])).toMatch(/1\.12 \.\. 1\.31 +missed +routing 0$/m)
})
