import { expect, test } from 'vitest'
import { choiceName, countsOf, routerLike } from './counts.ts'

/** Three tokens, two choices each; the last token's second choice is none. */
const router = {
  layer: 0,
  module: 'ffn',
  experts: 4,
  prototypes: 2,
  choices: 2,
  expert: [1, 3, 0, 2, 1, -1],
  gate: null,
}

test('the legend counts tokens of the chosen choice, most often first', () => {
  expect(countsOf(router, 0)).toEqual([
    { expert: 1, tokens: 2 },
    { expert: 0, tokens: 1 },
  ])
})

test('a token that no expert took is counted for none', () => {
  expect(countsOf(router, 1)).toEqual([
    { expert: 2, tokens: 1 },
    { expert: 3, tokens: 1 },
  ])
})

test('a choice is called by its prototype, by its rank, or both', () => {
  expect(choiceName({ choices: 1, prototypes: 1 }, 0)).toBeNull()
  expect(choiceName({ choices: 2, prototypes: 1 }, 1)).toBe('choice 2')
  expect(choiceName({ choices: 4, prototypes: 4 }, 3)).toBe('prototype 3')
  expect(choiceName({ choices: 4, prototypes: 2 }, 3)).toBe('prototype 1, choice 2')
})

test('another run is looked at in the same layer and module, or the nearest it has', () => {
  const routers = [
    { layer: 1, module: 'ffn' },
    { layer: 3, module: 'qkv' },
    { layer: 3, module: 'ffn' },
  ]
  expect(routerLike(routers, 3, 'ffn')).toBe(2)
  expect(routerLike(routers, 3, 'output')).toBe(1)
  expect(routerLike(routers, 0, 'ffn')).toBe(0)
  expect(routerLike([], 5, 'ffn')).toBe(0)
})
