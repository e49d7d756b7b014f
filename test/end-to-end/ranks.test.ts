/** What trainings on several ranks compute: that of one process, over both MPI libraries. */
import { describe, expect, test, vi } from 'vitest'
import type { RunInput } from '../../src/config/run-config.ts'
import { families, launchers } from '../../src/runtime/mpi/testing/launch.ts'
import { input, outcome, rankRuns, timeouts } from './rank-runs.ts'
import { metricsWithoutTimes } from './support.ts'

vi.setConfig(timeouts)
const { train } = rankRuns()

const cases: [string, RunInput, steps: number, layouts: readonly (readonly [ranks: number, expert: number])[]][] = [
  [
    'top-1, for 50 steps',
    {},
    50,
    [
      [2, 2],
      [4, 4],
      [4, 2],
      [4, 1],
    ],
  ],
  [
    'prototypes with MoE attention, two passes a shard, Adafactor',
    {
      model: { moe: { router: 'prototype', prototypes: 2, attention: 'all' } },
      train: { microBatches: 2, optimizer: { kind: 'adafactor' } },
    },
    4,
    [
      [2, 2],
      [4, 2],
    ],
  ],
  [
    'top-2 without capacity, bf16',
    { model: { moe: { k: 2, capacity: 'none' } }, runtime: { math: 'bf16' } },
    4,
    [
      [4, 4],
      [4, 2],
    ],
  ],
  [
    'two experts and a shared one',
    { model: { activation: 'swiglu', moe: { router: 'bias', k: 2, sharedHidden: 16 } } },
    4,
    [[4, 2]],
  ],
  [
    'biases of sigmoids in a group, SwiGLU, a shared expert with a gate',
    {
      model: {
        activation: 'swiglu',
        moe: {
          ...{ router: 'bias', k: 2, scores: 'sigmoid', expertGroups: 2, renormalize: true, routedScale: 2.5 },
          ...{ sharedHidden: 16, sharedGate: true },
        },
      },
    },
    4,
    [[4, 2]],
  ],
]

describe.each(families)('%s', (family) => {
  const here = launchers.has(family)
  test.skipIf(!here).each(family === 'Open MPI' ? cases : cases.slice(1, 2))(
    `${family}: losses, norms, loads, parameters and moments are bitwise those of one process: %s`,
    async (_, over, steps, layouts) => {
      const config = input(over, steps)
      const one = outcome(await train(family, 1, 1, config))
      for (const [ranks, expert] of layouts)
        expect(outcome(await train(family, ranks, expert, config)), `${ranks} ranks, ${expert} share experts`).toEqual(
          one,
        )
    },
  )

  const several: [string, RunInput][] = [
    ['packed rows', {}],
    ['without capacity, SwiGLU', { model: { activation: 'swiglu', moe: { k: 2, capacity: 'none' } } }],
    ['MoE attention, several passes', { model: { moe: { attention: 'all' } }, train: { microBatches: 2 } }],
  ]
  const joint = family === 'Open MPI' ? several : several.slice(0, 1)
  test.skipIf(!here).each(joint)(
    `${family}: rows of all ranks at once differ by rounding only: %s`,
    async (_, over) => {
      const config = input(over, 4)
      const joined = { ...config, parallel: { ...config.parallel, reproducible: false } }
      const losses = (run: string) =>
        metricsWithoutTimes(run).map(({ loss, grad_norm: norm }) => [Number(loss), Number(norm ?? 0)])
      const [apart, together] = [losses(await train(family, 4, 2, config)), losses(await train(family, 4, 2, joined))]
      expect(together).toHaveLength(apart.length)
      for (const [i, [loss = 0, norm = 0]] of apart.entries()) {
        expect(together[i]?.[0]).toBeCloseTo(loss, 4)
        expect(together[i]?.[1]).toBeCloseTo(norm, 4)
      }
    },
  )
})
