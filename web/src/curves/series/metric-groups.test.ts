import { describe, expect, it } from 'vitest'
import { groupsOf } from './metric-groups.ts'

const metrics = ['eval/loss', 'train/zebra', 'train/mfu', 'a/b/c', 'train/loss', 'lonely', 'train/apple', 'train/loss']

describe('groups of metrics', () => {
  it('begin with training, which begins with the loss', () => {
    expect(groupsOf(metrics, [], '')).toEqual([
      { prefix: 'train', metrics: ['train/loss', 'train/mfu', 'train/apple', 'train/zebra'] },
      { prefix: 'eval', metrics: ['eval/loss'] },
      { prefix: 'a/b', metrics: ['a/b/c'] },
      { prefix: 'other', metrics: ['lonely'] },
    ])
  })

  it('have pinned metrics on top, once, if they match the search', () => {
    expect(groupsOf(metrics, ['gone', 'train/mfu', 'eval/loss'], 'train')).toEqual([
      { prefix: 'pinned', metrics: ['train/mfu'] },
      { prefix: 'train', metrics: ['train/loss', 'train/apple', 'train/zebra'] },
    ])
  })

  it('contain metrics that match all words of the search', () => {
    expect(groupsOf(metrics, [], 'LOSS eval')).toEqual([{ prefix: 'eval', metrics: ['eval/loss'] }])
    expect(groupsOf(metrics, [], 'nothing')).toEqual([])
  })
})
