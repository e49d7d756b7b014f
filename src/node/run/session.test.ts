import { expect, test } from 'vitest'
import { type RunInput, runSchema } from '../../core/config/run-config.ts'
import { causalityNotices } from '../../train/run/notices.ts'

type Moe = NonNullable<RunInput['model']>['moe']

const noticesOf = (moe: Moe, train: RunInput['train'] = {}) =>
  causalityNotices(runSchema.parse({ model: { moe }, train }), [
    { activity: 'training', rule: 'train' },
    { activity: 'evaluation', rule: 'eval' },
  ])

test('a causal model has no notices', () => {
  for (const moe of [
    null,
    {},
    { k: 2, capacity: '1x' as const },
    { router: 'hash' as const },
    { capacity: 'none' as const },
  ])
    expect(noticesOf(moe)).toEqual([])
  // A batch of one sequence has no other texts.
  expect(noticesOf({ priority: 'token' }, { batch: 2, microBatches: 2 })).toEqual([])
})

test('a notice names the activities, the dependence and the setting that causes it', () => {
  const own =
    /^in training and evaluation a token's loss depends on later tokens of its own text \(model\.moe\.router=expert-choice\)/
  expect(noticesOf({ router: 'expert-choice', k: 2 })).toEqual([expect.stringMatching(own)])
  expect(noticesOf({ router: 'sinkhorn' })).toEqual([expect.stringMatching(/^in training a token's .*router=sinkhorn/)])
  expect(noticesOf({ k: 2, priority: 'choice' })).toEqual([expect.stringMatching(/later tokens.*priority=choice/)])
  expect(noticesOf({ priority: 'token' })).toEqual([expect.stringMatching(/other texts of its batch.*priority=token/)])
  // In evaluation there is room for all: 8 experts at 8 times the even share.
  expect(noticesOf({ priority: 'gate', evalFactor: 8 })).toEqual([expect.stringMatching(/^in training a token's/)])
  expect(noticesOf({ router: 'sinkhorn', priority: 'token' })).toHaveLength(2)
})
