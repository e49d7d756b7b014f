/**
 * Trainings without capacity in which the experts of a rank get more rows than `parallel.headroom` has room for: they
 * take more memory, and have the bits of one process.
 *
 * @slow
 */
import { writeFileSync } from 'node:fs'
import { describe, expect, test, vi } from 'vitest'
import type { RunInput } from '../../src/core/config/run-config.ts'
import type { Family } from '../../src/engine/world/mpi/library.ts'
import { families, launchers } from '../../src/engine/world/mpi/testing/launch.ts'
import { input, outcome, rankRuns, timeouts } from './rank-runs.ts'
import { expectSuccess } from './support.ts'

vi.setConfig(timeouts)
const { workspace, newRun } = rankRuns()

/** A router that sends every token to the first experts, which the first rank of each group holds. */
const toTheFirst = `import { matmul, reshape, slice, softmax, topK } from 'choir/graph'
export default {
  parameters: ({ moe, width }) => ({ weight: { shape: [width, moe.experts], init: 'normal' } }),
  choose({ moe, x_TD, weights }) {
    const logits = matmul(x_TD, weights.weight)
    const [gate_TK, expert_TK] = topK(softmax(slice(logits, 1, 0, moe.k)), moe.k)
    const shape = [x_TD.shape[0], 1, moe.experts]
    return { expert_TK, gate_TK, logits_TZN: reshape(logits, shape), probability_TZN: reshape(softmax(logits), shape) }
  },
}
`

interface Trained {
  readonly outcome: ReturnType<typeof outcome>
  /** Messages about memory, with the rank, and its memory before, after and at most. */
  readonly growth: readonly (readonly [rank: number, before: string, after: string, most: string])[]
}

async function train(
  family: Family,
  ranks: number,
  expert: number,
  config: RunInput,
  router: string,
): Promise<Trained> {
  const run = newRun()
  writeFileSync(workspace().file('first.mjs'), toTheFirst)
  const path = workspace().config({ ...config, parallel: { ...config.parallel, expert } })
  const args = ['train', path, '--out', run, '--json', '--deadline', '60', '--set', `model.moe.router=${router}`]
  const { stdout } = await expectSuccess(
    ranks === 1 ? workspace().start(...args) : workspace().startRanks(family, ranks, ...args),
  )
  const text = /rank (\d) \(.*?\): more rows .*? has grown from (.*?) to (.*?) \(at most (.*?), if all tokens/
  const growth = stdout.split('\n').flatMap((line) => {
    const [, rank, before = '', after = '', most = ''] = text.exec(line) ?? []
    return rank === undefined ? [] : [[Number(rank), before, after, most] as const]
  })
  return { outcome: outcome(run), growth }
}

const STEPS = 3
const moe = { experts: 8, prototypes: 1, k: 2, capacity: 'none' } as const
const settings = input({ model: { moe }, train: { microBatches: 2 }, parallel: { headroom: 1 } }, STEPS)
const one = new Map<string, Promise<Trained>>()
const alone = (router: string): Promise<Trained> => {
  const run = one.get(router) ?? train('Open MPI', 1, 1, settings, router)
  one.set(router, run)
  return run
}

describe.each(families)('%s', (family) => {
  const layouts: readonly (readonly [ranks: number, expert: number])[] =
    family === 'Open MPI'
      ? [
          [4, 4],
          [4, 2],
          [4, 1],
        ]
      : [[4, 2]]
  test.skipIf(!launchers.has(family)).each(layouts)(
    'all tokens of a group choose the experts of one of its ranks: %i ranks, %i share experts',
    async (ranks, expert) => {
      const { outcome: expected } = await alone('./first.mjs')
      const { outcome, growth } = await train(family, ranks, expert, settings, './first.mjs')
      expect(outcome).toEqual(expected)
      // The first rank of each group grows, to the memory for all tokens, and once: other passes need no more.
      const growing = expert === 1 ? [] : Array.from({ length: ranks / expert }, (_, group) => group * expert)
      expect(growth.map(([rank]) => rank)).toEqual(growing)
      for (const [, before, after, most] of growth) {
        expect(after).toBe(most)
        expect(after).not.toBe(before)
      }
    },
  )

  // The chance of a router that learns does not depend on the library.
  if (family === [...launchers.keys()][0])
    test('a router that learns, on two ranks', async () => {
      const { outcome: expected } = await alone('top-k')
      const { outcome, growth } = await train(family, 2, 2, settings, 'top-k')
      expect(outcome).toEqual(expected)
      expect(growth.length).toBeGreaterThan(0)
    })
})
