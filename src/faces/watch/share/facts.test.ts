import { expect, test } from 'vitest'
import type { RouterInfo } from '../api.ts'
import { factsOf } from './describe-run.ts'

const routers: RouterInfo[] = [0, 1].map((layer) => ({ layer, module: 'ffn', experts: 8, prototypes: 2 }))
const index = { routers, experts: 8 }

test('the configuration is told in words, without the folders of the machine', () => {
  const facts = factsOf(
    {
      'model.layers': 2,
      'model.width': 128,
      'model.moe.hidden': 1024,
      'model.moe.router': '/home/someone/routers/mine.ts',
      'model.moe.k': 2,
      'model.moe.balance.coefficient': 0,
      'model.moe.capacity': 'kx',
      'model.moe.factor': 1.25,
      'model.sequence': 128,
      'train.batch': 8,
      'train.steps': 2400,
      'train.seed': 3,
      'train.schedule.learningRate': 0.006,
      'data.source': '/home/someone/books/a.txt,sotu,C:\\Users\\someone\\notes\\',
    },
    index,
  )
  expect(Object.fromEntries(facts)).toEqual({
    Experts: '8, each 1,024 wide, in each of 2 layers',
    Model: '2 layers, 128 wide',
    Router: 'mine.ts, 2 experts for each token',
    'Balancing loss': 'off',
    'Capacity of an expert': '1.25 times its fair share',
    Training: '2,400 steps of 1,024 tokens',
    Text: 'a.txt, sotu, notes',
    'Learning rate': '0.006, seed 3',
  })
  expect(JSON.stringify(facts)).not.toContain('someone')
})

test('a trace, which has no configuration, has its experts', () => {
  expect(factsOf({}, index)).toEqual([['Experts', '8, in each of 2 layers']])
})
