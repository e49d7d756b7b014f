import { expect, test } from 'vitest'
import { stateMemory } from './memory.ts'

// By hand: a vector of 10, a matrix of 6 × 4, and 3 experts of 2 × 5: 10 + 24 + 30 = 64 parameters.
const tensors = [
  { shape: [10], parameters: 10 },
  { shape: [6, 4], parameters: 24 },
  { shape: [3, 2, 5], parameters: 30 },
]

test('AdamW keeps two numbers a parameter', () => {
  expect(stateMemory('adamw', tensors).map(({ bytes }) => bytes)).toEqual([256, 256, 512])
})

test('Adafactor keeps the rows and columns of each matrix, and vectors whole', () => {
  expect(stateMemory('adafactor', tensors).map(({ bytes }) => bytes)).toEqual([256, 256, 4 * (10 + 10 + 3 * 7)])
})
