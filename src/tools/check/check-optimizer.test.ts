/** Checks of optimizers, each with hundreds of updates. @slow */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { add, divide, multiply, sqrt, square, subtract } from '../../core/graph/ops/elementwise.ts'
import { sum } from '../../core/graph/ops/reduction.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import { createRuntime } from '../../engine/cpu/cpu-runtime.ts'
import { type OptimizerInput, type OwnOptimizer, ownOptimizers } from '../../train/step/optimizer/own.ts'
import { checkPluginFile } from './check-file.ts'
import { checkOptimizerRule } from './check-optimizer.ts'

let folder: string
let one: Runtime
let two: Runtime
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'choir-optimizer-'))
  vi.stubEnv('XDG_CACHE_HOME', folder)
  ;[one, two] = await Promise.all([createRuntime({ threads: 1 }), createRuntime({ threads: 2 })])
})
afterAll(async () => {
  vi.unstubAllEnvs()
  await Promise.all([one.close(), two.close(), rm(folder, { recursive: true, force: true })])
})

let count = 0
function check(optimizer: Omit<OwnOptimizer, 'name'>) {
  const id = `test@${String(count++).padStart(16, '0')}`
  ownOptimizers.register(id, { name: 'test', ...optimizer })
  return checkOptimizerRule(id, { one, two })
}

const step = ({ parameter, rate }: OptimizerInput, change: Parameters<typeof multiply>[0]) => ({
  parameter: subtract(parameter, multiply(rate, change)),
})

test.each(['lion', 'muon'])('the example %s passes, and a zero gradient moves nothing', async (name) => {
  const { part, checks, time } = await checkPluginFile(`examples/optimizers/${name}.ts`)
  expect(checks.filter(({ passed }) => !passed)).toEqual([])
  expect(part).toBe('optimizer')
  expect(checks.find(({ name }) => name.startsWith('a gradient of zero'))?.found).toMatch(/^leaves all parameters/)
  expect(time?.ratio).toBeGreaterThan(0)
})

test('that a zero gradient moves parameters is reported, and is no failure', async () => {
  const { checks } = await check({ update: (given) => step(given, add(given.gradient, 0.5)) })
  const zero = checks.find(({ name }) => name.startsWith('a gradient of zero'))
  // Three updates by 0.001 · 0.5.
  expect(zero).toMatchObject({ passed: true, found: 'moves parameters by up to 0.00150 in three updates' })
})

test.each<[string, OwnOptimizer['update'], RegExp]>([
  ['climbs', (given) => step(given, multiply(given.gradient, -1)), /^from [\d.]+ to [\d.]+$/],
  ['draws while it is traced', (given) => step(given, multiply(given.gradient, 1 + Math.random())), / differs$/],
  [
    'divides a zero gradient by its norm',
    (given) => step(given, divide(given.gradient, sqrt(sum(square(given.gradient))))),
    /^embedding is not finite after updates by gradients of about 0$/,
  ],
])('an optimizer that %s is found', async (_, update, found) => {
  const { checks } = await check({ update })
  expect(checks.filter(({ passed }) => !passed).map((each) => each.found)).toEqual(
    expect.arrayContaining([expect.stringMatching(found)]),
  )
})
