import { expect, test } from 'vitest'
import { runSchema } from '../../core/config/run-config.ts'
import { stateMemory } from './state-memory.ts'

// The sum by hand: a vector of 10, a matrix of 6 × 4, and 3 experts of 2 × 5 have 10 + 24 + 30 = 64 parameters.
const tensors = [
  { name: 'vector', shape: [10], parameters: 10 },
  { name: 'matrix', shape: [6, 4], parameters: 24 },
  { name: 'experts.{e}.up', shape: [3, 2, 5], parameters: 30 },
]

const { optimizer } = runSchema.parse({}).train
const of = (kind: 'adamw' | 'adafactor', freeze: string[] = []) => ({ optimizer: { ...optimizer, kind }, freeze })

test('AdamW keeps two numbers per parameter', () => {
  expect(stateMemory(of('adamw'), tensors).map(({ bytes }) => bytes)).toEqual([256, 256, 512])
})

test('Adafactor keeps row and column sums of each matrix, and whole vectors', () => {
  expect(stateMemory(of('adafactor'), tensors).map(({ bytes }) => bytes)).toEqual([256, 256, 4 * (10 + 10 + 3 * 7)])
})

test('a compact moment takes two bytes in bf16, and in int8 one byte and a bound for each block of 256', () => {
  const [large] = [[{ name: 'matrix', shape: [512, 1024], parameters: 2 ** 19 }]]
  const bytes = (state: 'bf16' | 'int8') =>
    stateMemory({ optimizer: { ...optimizer, state }, freeze: [] }, large).at(-1)?.bytes
  expect(bytes('bf16')).toBe(4 * 2 ** 19)
  expect(bytes('int8')).toBe(2 * 2 ** 19 + 8 * 2 ** 11)
})

test("an optimizer of the user's own has the state that it says", () => {
  const own = { ...optimizer, kind: 'own' as const, own: `lion@${'0'.repeat(16)}` }
  expect(stateMemory({ optimizer: own, freeze: [] }, tensors, 70).at(-1)).toEqual({
    name: `state of ${own.own}`,
    bytes: 280,
  })
})

test('frozen parameters have neither gradient nor state', () => {
  expect(stateMemory(of('adamw', ['experts']), tensors).map(({ bytes }) => bytes)).toEqual([256, 4 * 34, 8 * 34])
  expect(stateMemory(of('adafactor', ['matrix']), tensors).at(-1)?.bytes).toBe(4 * (10 + 3 * 7))
})
