/**
 * Trainings on several ranks compute the same as one process, over both MPI libraries.
 *
 * @slow
 */
import { describe, expect, test, vi } from 'vitest'
import type { RunInput } from '../../src/core/config/run-config.ts'
import { families, launchers } from '../../src/engine/world/mpi/testing/launch.ts'
import { input, outcome, rankRuns, timeouts } from './rank-runs.ts'
import { metricsWithoutTimes } from './support.ts'

vi.setConfig(timeouts)
const { train } = rankRuns()

/** Ranks, and how many of them share experts. */
type Layout = readonly [ranks: number, expert: number]
interface Case {
  readonly title: string
  readonly config: RunInput
  /** Layouts that give the bits of one process. */
  readonly layouts: readonly Layout[]
  /** Layout of a training that computes the rows of all ranks at once (`parallel.reproducible: false`). */
  readonly joint?: Layout
}

const packed: Case = {
  title: 'top-1, packed rows',
  config: input({}, 6),
  layouts: [
    [4, 4],
    [2, 1],
  ],
  joint: [2, 2],
}
const prototypes: Case = {
  title: 'prototypes with MoE attention, two passes a shard, Adafactor',
  config: input(
    {
      model: { moe: { router: 'prototype', prototypes: 2, attention: 'all' } },
      train: { microBatches: 2, optimizer: { kind: 'adafactor' } },
    },
    4,
  ),
  layouts: [[4, 2]],
  joint: [2, 2],
}
const cases: readonly Case[] = [
  packed,
  prototypes,
  {
    title: 'top-2 without capacity, bf16',
    config: input({ model: { moe: { k: 2, capacity: 'none' } }, runtime: { math: 'bf16' } }, 4),
    layouts: [[2, 2]],
  },
  {
    title: 'two experts and a shared one, without capacity, SwiGLU',
    config: input(
      { model: { activation: 'swiglu', moe: { router: 'bias', k: 2, capacity: 'none', sharedHidden: 16 } } },
      4,
    ),
    layouts: [[2, 2]],
    joint: [2, 2],
  },
  {
    title: 'biases of sigmoids in a group, SwiGLU, a shared expert with a gate',
    config: input(
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
    ),
    layouts: [[2, 2]],
  },
]

const titled = (of: readonly Case[]) => of.map((each) => [each.title, each] as const)

const alone = new Map<Case, Promise<string>>()
/** The run of one process, which trains once for all worlds that are compared with it. */
function oneProcess(of: Case): Promise<string> {
  const run = alone.get(of) ?? train('Open MPI', 1, 1, of.config)
  alone.set(of, run)
  return run
}

const lossesOf = (run: string) =>
  metricsWithoutTimes(run).map(({ loss, grad_norm: norm }) => [Number(loss), Number(norm ?? 0)])

describe.each(families)('%s', (family) => {
  const here = launchers.has(family)
  test.skipIf(!here).each(titled(family === 'Open MPI' ? cases : [prototypes]))(
    `${family}: losses, norms, loads, parameters and moments are bitwise equal to one process: %s`,
    async (_, of) => {
      const one = outcome(await oneProcess(of))
      for (const [ranks, expert] of of.layouts)
        expect(
          outcome(await train(family, ranks, expert, of.config)),
          `${ranks} ranks, ${expert} share experts`,
        ).toEqual(one)
    },
  )

  test.skipIf(!here).each(titled(family === 'Open MPI' ? cases.filter(({ joint }) => joint) : [packed]))(
    `${family}: losses with the rows of all ranks at once differ by rounding only: %s`,
    async (_, of) => {
      const [ranks, expert] = of.joint as Layout
      const joined = { ...of.config, parallel: { ...of.config.parallel, reproducible: false } }
      const [apart, together] = [lossesOf(await oneProcess(of)), lossesOf(await train(family, ranks, expert, joined))]
      expect(together).toHaveLength(apart.length)
      for (const [i, [loss = 0, norm = 0]] of apart.entries()) {
        expect(together[i]?.[0]).toBeCloseTo(loss, 4)
        expect(together[i]?.[1]).toBeCloseTo(norm, 4)
      }
    },
  )
})
