import { expect, test } from 'vitest'
import { choiceName, countsOf, fullGate, nearestRouter, takersText } from './choices.ts'

/** Three tokens with two choices each; the last token lacks its second choice. */
const router = {
  layer: 0,
  module: 'ffn',
  experts: 4,
  prototypes: 2,
  choices: 2,
  expert: [1, 3, 0, 2, 1, -1],
  gate: null,
}

test('tokens of the selected choice are counted by expert, the most frequent first', () => {
  expect(countsOf(router, 0, ['a', ' b', 'a'])).toEqual([
    { expert: 1, tokens: 2, most: ['a'] },
    { expert: 0, tokens: 1, most: ['b'] },
  ])
})

test('a token without an expert is not counted', () => {
  expect(countsOf(router, 1, [' ', '\n', 'c'])).toEqual([
    { expert: 2, tokens: 1, most: [] },
    { expert: 3, tokens: 1, most: [] },
  ])
})

test('an expert has its three most frequent texts, and of equally frequent ones the first of the text', () => {
  const texts = ['x', 'the', 'of', ' the', 'and', 'to', 'and']
  const one = { ...router, choices: 1, expert: texts.map(() => 3) }
  expect(countsOf(one, 0, texts)).toEqual([{ expert: 3, tokens: 7, most: ['the', 'and', 'x'] }])
})

test('a bar is full at a gate of 1, or at the largest gate of the text if that is more', () => {
  expect(fullGate({ gate: null })).toBe(1)
  expect(fullGate({ gate: [0.25, 0.5] })).toBe(1)
  expect(fullGate({ gate: [0.5, 2.5, 1.5] })).toBe(2.5)
})

test('a choice is named by its prototype, its rank, or both', () => {
  expect(choiceName({ choices: 1, prototypes: 1 }, 0)).toBeNull()
  expect(choiceName({ choices: 2, prototypes: 1 }, 1)).toBe('choice 2')
  expect(choiceName({ choices: 4, prototypes: 4 }, 3)).toBe('prototype 3')
  expect(choiceName({ choices: 4, prototypes: 2 }, 3)).toBe('prototype 1, choice 2')
})

test('experts that took tokens are counted among those that the choice can have', () => {
  expect(takersText({ choices: 1, prototypes: 1, experts: 8 }, 0, 5)).toBe('5 of 8 experts took these tokens')
  expect(takersText({ choices: 2, prototypes: 1, experts: 8 }, 1, 5)).toBe(
    '5 of 8 experts took these tokens as choice 2',
  )
  expect(takersText({ choices: 2, prototypes: 2, experts: 8 }, 0, 4)).toBe(
    '4 of the 4 experts of prototype 0 took these tokens',
  )
  expect(takersText({ choices: 4, prototypes: 2, experts: 8 }, 3, 2)).toBe(
    '2 of the 4 experts of prototype 1 took these tokens as choice 2',
  )
})

test('the nearest router has the same layer and module if possible', () => {
  const routers = [
    { layer: 1, module: 'ffn' },
    { layer: 3, module: 'qkv' },
    { layer: 3, module: 'ffn' },
  ]
  expect(nearestRouter(routers, 3, 'ffn')).toBe(2)
  expect(nearestRouter(routers, 3, 'output')).toBe(1)
  expect(nearestRouter(routers, 0, 'ffn')).toBe(0)
  expect(nearestRouter([], 5, 'ffn')).toBe(0)
})
