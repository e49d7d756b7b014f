import { describe, expect, it } from 'vitest'
import { groupsOf } from './metric-groups.ts'

const metrics = [
  'eval/drop_rate',
  'train/zebra',
  'train/mfu',
  'a/b/c',
  'train/loss',
  'lonely',
  'train/apple',
  'eval/loss',
]

describe('groups of metrics', () => {
  it('begin with held-out loss, then the loss of training, routing, and speed', () => {
    const more = ['train/grad_norm', 'train/drop_rate', 'train/loss', 'eval/dropless/loss', 'eval/bits_per_byte']
    expect(groupsOf([...metrics, ...more], [], '')).toEqual([
      { name: 'loss', metrics: ['eval/loss', 'train/loss', 'eval/bits_per_byte'] },
      { name: 'routing', metrics: ['train/drop_rate'] },
      { name: 'speed', metrics: ['train/mfu'] },
      { name: 'optimizer', metrics: ['train/grad_norm'] },
      { name: 'train', metrics: ['train/apple', 'train/zebra'] },
      { name: 'eval', metrics: ['eval/drop_rate'] },
      { name: 'a/b', metrics: ['a/b/c'] },
      { name: 'eval/dropless', metrics: ['eval/dropless/loss'] },
      { name: 'other', metrics: ['lonely'] },
    ])
  })

  it('have pinned metrics on top, once, if they match the search', () => {
    expect(groupsOf(metrics, ['gone', 'train/mfu', 'eval/loss'], 'train')).toEqual([
      { name: 'pinned', metrics: ['train/mfu'] },
      { name: 'loss', metrics: ['train/loss'] },
      { name: 'train', metrics: ['train/apple', 'train/zebra'] },
    ])
  })

  it('contain metrics that match all words of the search', () => {
    expect(groupsOf(metrics, [], 'LOSS eval')).toEqual([{ name: 'loss', metrics: ['eval/loss'] }])
    expect(groupsOf(metrics, [], 'nothing')).toEqual([])
  })
})
