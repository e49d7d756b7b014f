import { expect, test } from 'vitest'
import type { TokenRouter } from '../../../src/faces/watch/api.ts'
import { traceCsv } from './choices.ts'

const router = (more: Partial<TokenRouter>): TokenRouter => ({
  layer: 0,
  module: 'ffn',
  experts: 4,
  prototypes: 1,
  choices: 1,
  expert: [],
  gate: null,
  ...more,
})

test('the table has every token with its expert and its gate in every layer and choice', () => {
  const routers = [
    router({ expert: [3, -1], gate: [0.25, 0] }),
    router({ layer: 1, choices: 2, expert: [0, 1, 2, 3], gate: [0.5, 0.125, 1, 0] }),
  ]
  expect(traceCsv(['Oh', ', "no"'], routers, ['0', '1']).trim().split('\r\n')).toEqual([
    'token,text,layer,choice,expert,gate',
    '0,Oh,0,,3,0.25',
    '0,Oh,1,choice 1,0,0.5',
    '0,Oh,1,choice 2,1,0.125',
    '1,", ""no""",0,,,0',
    '1,", ""no""",1,choice 1,2,1',
    '1,", ""no""",1,choice 2,3,0',
  ])
})
