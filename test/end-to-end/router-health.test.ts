/**
 * Trainings with planted faults of routers, which are warned of within 200 steps, and healthy ones, which are not.
 *
 * @slow
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
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

/** The warnings of 200 steps of tiny, and the faults that its log names at some steps. */
async function trained(moe: Moe, router?: OwnRouter) {
  const steps = { steps: 200, evalEvery: 1000, checkpointEvery: 1000 }
  const config = defineConfig({ preset: 'tiny', model: { moe }, train: steps })
  const warnings: string[] = []
  const directory = mkdtempSync(join(folder, 'run-'))
  await train(config, {
    directory,
    ...(router && { router }),
    onEvent: (event) => {
      if (event.kind === 'warning') warnings.push(event.message)
    },
  })
  const lines = readFileSync(join(directory, 'metrics.jsonl'), 'utf8').trimEnd().split('\n')
  const faults = lines
    .map((line) => JSON.parse(line) as { step: number; router_faults?: string[] })
    .filter(({ router_faults }) => router_faults !== undefined)
    .map(({ step, router_faults }) => ({ step, router_faults }))
  return { warnings, faults }
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
    const { warnings, faults } = await trained({ experts: 8, capacity: 'none' }, firstWith(1.5))
    for (const layer of [0, 1]) {
      const of = warnings.filter((message) => message.startsWith(`the router of layer ${layer}: `)).join('\n')
      expect(of).toContain('expert 0 of 8 takes 100 % of the tokens')
      expect(of).toContain('the gates of a token add up to 1.50')
    }
    expect(warnings).toHaveLength(4)
    expect(faults).toEqual([100, 200].map((step) => ({ step, router_faults: warnings })))
  })

  test('full experts', async () => {
    const { warnings } = await trained({ experts: 8, capacity: 'kx', factor: 0.5 })
    expect(warnings[0]).toMatch(/no expert computed [4-9]\d % of the tokens, .*raise model\.moe\.factor/)
  })
})

test.each(['top-k', 'prototype', 'expert-choice', 'bias', 'hash', 'random', 'sinkhorn'] as const)(
  'a healthy training has no warning: %s',
  { timeout: 60_000 },
  async (router) => {
    const moe = { router, experts: 8, prototypes: router === 'prototype' ? 2 : 1 }
    expect(await trained(moe)).toEqual({ warnings: [], faults: [] })
  },
)
