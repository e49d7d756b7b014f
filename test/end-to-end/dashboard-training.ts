/** A dashboard with two finished runs, and a training that goes on until a test stops it. */
import { afterAll, beforeAll } from 'vitest'
import type { RunInput } from '../../src/core/config/run-config.ts'
import { type Watching, watching } from './dashboard-page.ts'
import { type Site, siteOf } from './dashboard-site.ts'
import { expectSuccess } from './support.ts'

const moe = { experts: 8, router: 'prototype', prototypes: 2 } as const
const train = { steps: 30, evalEvery: 10, checkpointEvery: 10, routingEvery: 5 }
/** The configuration of run `one`. */
export const one: RunInput = { model: { moe: { ...moe, k: 1 } }, train: { ...train, seed: 1 } }
const two: RunInput = { model: { moe: { ...moe, k: 2 } }, train: { ...train, seed: 2 } }
/** A training that runs until it is stopped, and writes no checkpoint before. */
const endless: RunInput = { ...one, train: { steps: 200_000, batch: 16, checkpointEvery: 200_000, routingEvery: 10 } }

/** Call it within `describe`. The runs are `one`, `two` and, with a page of its own, `live`. */
export function siteWithTraining(): { readonly site: Site; readonly live: () => Watching } {
  let live: Watching | undefined

  const site = siteOf(async (workspace) => {
    const runs = [
      ['one', one],
      ['two', two],
    ] as const
    for (const [name, config] of runs)
      await expectSuccess(workspace.start('train', workspace.config(config), '--out', `runs/${name}`))
  })

  // This training starts last, because it keeps a core busy.
  beforeAll(async () => {
    const { workspace } = site
    live = await watching(workspace, 'train', workspace.config(endless), '--out', 'runs/live', '--watch')
  })

  afterAll(async () => {
    live?.running.kill('SIGINT')
    await live?.running.ended
  })

  return { site, live: () => live as Watching }
}
