/**
 * A balancing loss of the user's own in a file.
 *
 * @slow
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { studyRuns, timeouts } from './study-runs.ts'
import { expectSuccess, results as outcome, trainRecords, withoutLastCheckpoint } from './support.ts'

vi.setConfig({ ...timeouts, hookTimeout: timeouts.testTimeout })
const { workspace } = studyRuns()

/** Equation 4 of Switch Transformers, written by a user who knows only `choir/graph`. */
const ofSwitch = `import { cast, mean, multiply, reshape, sum } from 'choir/graph'
export default {
  loss({ moe, probability_TZN, count_GN, groups }: any) {
    const [tokens, prototypes, experts] = probability_TZN.shape
    const p = mean(reshape(probability_TZN, [groups, tokens / groups, prototypes, experts]), { axes: [1] })
    const count = reshape(cast(count_GN, p.dtype), [groups, prototypes, experts])
    return mean(sum(multiply(multiply(count, experts / ((tokens / groups) * moe.k)), p), { axes: [2] }))
  },
}
`
const train = { steps: 12, evalEvery: 6, checkpointEvery: 6, routingEvery: 1, schedule: { finalBalance: 0.5 } }

beforeAll(() => {
  vi.stubEnv('XDG_CACHE_HOME', workspace().file('home'))
  writeFileSync(workspace().file('mine.ts'), ofSwitch)
})
afterAll(() => vi.unstubAllEnvs())

async function trained(out: string, form: string): Promise<string> {
  const moe = { prototypes: 2, router: 'prototype' as const, k: 1, groups: 2, balance: { coefficient: 0.5 } }
  const config = workspace().config({ train, model: { moe } })
  await expectSuccess(workspace().start('train', config, '--out', out, '--set', `model.moe.balance.form=${form}`))
  return workspace().file(out)
}

test("a copy of Switch's loss has the losses of the built-in one, within rounding", async () => {
  const [mine, builtIn] = [await trained('mine', './mine.ts'), await trained('built-in', 'switch')]
  const [of, expected] = [trainRecords(mine), trainRecords(builtIn)]
  expect(of).toHaveLength(12)
  for (const [i, record] of of.entries()) {
    expect(record.loss).toBeCloseTo(expected[i]?.loss ?? Number.NaN, 4)
    expect(record.aux_loss).toBeCloseTo(expected[i]?.aux_loss as number, 4)
  }
  expect(readFileSync(join(mine, 'balance.ts'), 'utf8')).toBe(ofSwitch)
})

test('a run is continued bit for bit, evaluated and written with, without its file', async () => {
  const whole = await trained('whole', './mine.ts')
  const copy = withoutLastCheckpoint(whole)
  await expectSuccess(workspace().start('train', '--resume', copy))
  expect(outcome(copy)).toEqual(outcome(whole))
  await expectSuccess(workspace().start('generate', whole, '--prompt', 'the people', '--tokens', '8'))
  vi.stubEnv('XDG_CACHE_HOME', workspace().file('stranger'))
  const refused = await workspace().choir('eval', whole)
  vi.stubEnv('XDG_CACHE_HOME', workspace().file('home'))
  expect(refused).toMatchObject({ code: 2, stdout: '' })
  expect(refused.stderr).toMatch(/has the balancing loss mine@[0-9a-f]{16}.*balance\.ts.*choir check FILE/s)
})
