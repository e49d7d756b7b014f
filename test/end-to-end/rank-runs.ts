/** Trainings on several ranks over MPI, as users start them, for tests. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll } from 'vitest'
import type { RunInput } from '../../src/core/config/run-config.ts'
import type { Family } from '../../src/engine/world/mpi/library.ts'
import { checkpointsOf, expectSuccess, metricsWithoutTimes, Workspace } from './support.ts'

/** The timeout is long, since a world of four ranks on two cores takes seconds to start. */
export const timeouts = { testTimeout: 180_000 }

/** The workspace of a test file, and trainings in it. */
export function rankRuns() {
  let workspace: Workspace
  let runs = 0
  beforeAll(() => {
    workspace = new Workspace()
  })
  afterAll(() => workspace.remove())

  const newRun = (): string => workspace.file(`run-${++runs}`)
  return {
    workspace: () => workspace,
    newRun,
    /** @param expert Number of ranks that share the experts. @returns The run directory. */
    async train(family: Family, ranks: number, expert: number, config: RunInput): Promise<string> {
      const run = newRun()
      const path = workspace.config({ ...config, parallel: { ...config.parallel, expert } })
      const args = ['train', path, '--out', run, '--json', '--deadline', '60']
      await expectSuccess(ranks === 1 ? workspace.start(...args) : workspace.startRanks(family, ranks, ...args))
      return run
    },
  }
}

/** Settings of a training with four shards. */
export const input = (over: RunInput, steps: number): RunInput => ({
  ...over,
  train: { batch: 8, steps, evalEvery: steps, evalBatches: 3, checkpointEvery: steps, routingEvery: 1, ...over.train },
  parallel: { shards: 4, ...over.parallel },
})

/** The results that must not depend on the layout: metrics, routing, and every tensor of the last checkpoint. */
export function outcome(run: string) {
  const state = join(run, 'checkpoints', checkpointsOf(run).at(-1) as string, 'state.json')
  const { census } = JSON.parse(readFileSync(state, 'utf8')) as { census: Record<string, string> }
  const sorted = Object.fromEntries(Object.entries(census).sort())
  return {
    metrics: metricsWithoutTimes(run),
    routing: readFileSync(join(run, 'routing.jsonl'), 'utf8'),
    census: sorted,
  }
}
