import { expect, it } from 'vitest'
import type { FlatConfig } from '../../../../src/faces/watch/api.ts'
import { runWith } from '../../testing/run.ts'
import { verdictMetric } from './verdict-metric.ts'

const arm = (config: FlatConfig) => ({ name: 'arm', runs: [runWith({ config })], repeated: [] })
const all = new Set(['eval/loss', 'eval/train_capacity/loss', 'eval/dropless/loss'])
const dense = arm({ 'model.moe': null })
const dropless = arm({ 'model.moe.capacity': 'none', 'model.moe.router': 'sinkhorn' })
const limited = arm({ 'model.moe.capacity': '1x', 'model.moe.router': 'top-k' })
const sinkhorn = arm({ 'model.moe.capacity': '1x', 'model.moe.router': 'sinkhorn' })

it.each([
  [[dense, dropless], all, 'eval/loss'],
  [[dense, limited], all, 'eval/train_capacity/loss'],
  [[limited, sinkhorn], all, 'eval/dropless/loss'],
  [[dense, limited], new Set(['eval/loss']), 'eval/loss'],
])('verdicts are about the loss by which reports judge, if runs have it (%#)', (arms, metrics, metric) =>
  expect(verdictMetric(arms, metrics)).toBe(metric),
)
