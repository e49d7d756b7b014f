/**
 * Runs with experts in attention: training, resuming, generating.
 *
 * @slow
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { RoutingRecord } from '../../src/core/model/routing/statistics.ts'
import { expectSuccess, results, trainRecords, Workspace, withoutLastCheckpoint } from './support.ts'

let workspace: Workspace
beforeAll(() => {
  workspace = new Workspace()
})
afterAll(() => workspace.remove())

const routers = {
  'top-k': { router: 'top-k', k: 2 },
  prototype: { router: 'prototype', prototypes: 2 },
  hash: { router: 'hash' },
  random: { router: 'random', k: 2 },
} as const

test.each(Object.entries(routers))('%s learns, generates, and resumes to the last bit', async (router, settings) => {
  const config = workspace.config({
    model: { moe: { attention: 'all', groups: 2, ...settings } },
    train: { steps: 30, microBatches: 2, checkpointEvery: 20, schedule: { learningRate: 3e-3, warmup: 5 } },
  })
  const whole = workspace.file(router)
  const { stdout } = await expectSuccess(workspace.start('train', config, '--out', whole, '--sample'))
  expect(stdout).toContain('the model continues a prompt')
  const parts = withoutLastCheckpoint(whole)
  await expectSuccess(workspace.start('train', '--resume', parts, '--no-sample'))
  expect(results(parts)).toEqual(results(whole))

  const losses = trainRecords(whole).map(({ loss }) => loss)
  expect(losses.at(-1)).toBeLessThan((losses[0] as number) * 0.9)
  const routing: RoutingRecord[] = results(whole)
    .routing.trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  const ofOneStep = routing.filter(({ step }) => step === 5).map(({ layer, module }) => `${layer} ${module}`)
  expect(ofOneStep).toEqual(['0 qkv', '0 output', '0 ffn', '1 qkv', '1 output', '1 ffn'])
})

test('equal seeds generate equal texts', async () => {
  const ask = ['generate', workspace.file('prototype'), '--prompt', 'the people', '--tokens', '40', '--seed']
  const texts = await Promise.all(['1', '1', '2'].map((seed) => expectSuccess(workspace.start(...ask, seed))))
  expect(texts[1]?.stdout).toBe(texts[0]?.stdout)
  expect(texts[2]?.stdout).not.toBe(texts[0]?.stdout)
})

test('inspect shows the experts of attention, and refuses an unknown value', async () => {
  const set = (value: string) => ['--set', `model.moe.attention=${value}`]
  const { stdout } = await expectSuccess(workspace.start('inspect', 'tiny', ...set('qkv')))
  expect(stdout).toMatch(/layers\.\*\.attention\.qkv\.router +32 × 4 +× 2 /)
  expect(stdout).toMatch(/layers\.\*\.attention\.qkv\.experts\.\*\.weight +4 × 32 × 96 +× 2 /)
  expect(stdout).toMatch(/layers\.\*\.attention\.output +32 × 32 +× 2 /)
  expect(stdout).toContain('4, each 64 wide, in every layer, and of the QKV projection, top-1')
  const refused = await workspace.choir('inspect', 'tiny', ...set('output'))
  expect(refused.code).toBe(2)
  expect(refused.stderr).toContain('model.moe.attention')
  expect(refused.stderr).toContain('"output"')
})
