/**
 * Trainings with planted faults of routers, which are warned of within 200 steps, and healthy ones, which are not.
 *
 * @slow
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { defineConfig } from '../../src/faces/library/config.ts'
import { constant } from '../../src/faces/library/graph.ts'
import { type OwnRouter, train } from '../../src/faces/library/index.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'choir-health-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

type Moe = NonNullable<NonNullable<NonNullable<Parameters<typeof defineConfig>[0]>['model']>['moe']>

/** The warnings of 200 steps of tiny. */
async function warningsOf(moe: Moe, router?: OwnRouter): Promise<string[]> {
  const steps = { steps: 200, evalEvery: 1000, checkpointEvery: 1000 }
  const config = defineConfig({ preset: 'tiny', model: { moe }, train: steps })
  const warnings: string[] = []
  await train(config, {
    directory: mkdtempSync(join(folder, 'run-')),
    ...(router && { router }),
    onEvent: (event) => {
      if (event.kind === 'warning') warnings.push(event.message)
    },
  })
  return warnings
}

/** A router that sends every token to the first experts, with gates of a size. */
const firstWith = (gate: number): OwnRouter => ({
  name: 'first',
  choose: ({ moe, x_TD }) => {
    const tokens = x_TD.shape[0] as number
    const experts = Int32Array.from({ length: tokens * moe.k }, (_, i) => i % moe.k)
    return {
      expert_TK: constant(experts, 'int32', [tokens, moe.k]),
      gate_TK: constant(new Float32Array(tokens * moe.k).fill(gate), x_TD.dtype, [tokens, moe.k]),
    }
  },
})

describe('a fault is warned of', { timeout: 60_000 }, () => {
  test('one expert for all, and gates above 1', async () => {
    const warnings = await warningsOf({ experts: 8, capacity: 'none' }, firstWith(1.5))
    for (const layer of [0, 1]) {
      const of = warnings.filter((message) => message.startsWith(`the router of layer ${layer}: `)).join('\n')
      expect(of).toContain('expert 0 of 8 takes 100 % of the tokens')
      expect(of).toContain('the gates of a token add up to 1.50')
    }
    expect(warnings).toHaveLength(4)
  })

  test('full experts', async () => {
    const [first] = await warningsOf({ experts: 8, capacity: 'kx', factor: 0.5 })
    expect(first).toMatch(/no expert computed [4-9]\d % of the tokens, .*raise model\.moe\.factor/)
  })
})

test.each(['top-k', 'prototype', 'expert-choice', 'bias', 'hash', 'random', 'sinkhorn'] as const)(
  'a healthy training has no warning: %s',
  { timeout: 60_000 },
  async (router) => {
    expect(await warningsOf({ router, experts: 8, prototypes: router === 'prototype' ? 2 : 1 })).toEqual([])
  },
)
