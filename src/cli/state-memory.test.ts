import { expect, test } from 'vitest'
import { stateMemory } from './state-memory.ts'

// By hand: a vector of 10, a matrix of 6 × 4, and 3 experts of 2 × 5: 10 + 24 + 30 = 64 parameters.
const tensors = [
  { shape: [10], parameters: 10 },
  { shape: [6, 4], parameters: 24 },
  { shape: [3, 2, 5], parameters: 30 },
]

test('AdamW keeps two numbers per parameter', () => {
  expect(stateMemory('adamw', tensors).map(({ bytes }) => bytes)).toEqual([256, 256, 512])
})

test('Adafactor keeps row and column sums of each matrix, and whole vectors', () => {
  expect(stateMemory('adafactor', tensors).map(({ bytes }) => bytes)).toEqual([256, 256, 4 * (10 + 10 + 3 * 7)])
})
