/**
 * Training, resuming, evaluating and generating with routers whose state must be in the checkpoint.
 *
 * @slow
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { RunInput } from '../../src/core/config/run-config.ts'
import { evalRecords, expectSuccess, results, trainRecords, Workspace, withoutLastCheckpoint } from './support.ts'

let workspace: Workspace
beforeAll(() => {
  workspace = new Workspace()
})
afterAll(() => workspace.remove())

type Moe = NonNullable<NonNullable<RunInput['model']>['moe']>

test.each<Moe>([
  { router: 'sinkhorn', k: 2, groups: 2 },
  { router: 'bias', k: 2, biasRate: 0.01 },
  // At evalFactor 2 each of the four experts would take every token, and later tokens would not matter.
  { router: 'expert-choice', k: 2, factor: 1, evalFactor: 1 },
  { router: 'top-k', k: 2, selection: 'sequential' },
  { router: 'hash', k: 2, capacity: 'none' },
])('%o trains, resumes bitwise, evaluates and generates', async (moe) => {
  const config = workspace.config({
    model: { vocabulary: 257, moe },
    train: { steps: 10, evalEvery: 5, checkpointEvery: 5, schedule: { learningRate: 3e-3, warmup: 2 } },
  })
  const whole = workspace.file(`${moe.router}-${moe.selection ?? ''}`)
  await expectSuccess(workspace.start('train', config, '--out', whole, '--no-sample'))
  const run = withoutLastCheckpoint(whole)
  const { stdout } = await expectSuccess(workspace.start('train', '--resume', run, '--json', '--no-sample'))
  expect(results(run)).toEqual(results(whole))
  for (const { unserved_rate, drop_rate } of [...trainRecords(run), ...evalRecords(run)]) {
    expect(unserved_rate).toBeGreaterThanOrEqual(0)
    expect(unserved_rate).toBeLessThan(1)
    if (moe.router === 'expert-choice') expect(drop_rate).toBe(0)
    // An unserved token has lost all its choices.
    else expect(unserved_rate).toBeLessThanOrEqual(drop_rate + 1e-6)
  }
  for (const { gate_mean, gate_entropy, entropy_share } of [...trainRecords(run), ...evalRecords(run)]) {
    if (moe.router === 'hash') expect([gate_mean, gate_entropy, entropy_share]).toEqual([1, null, null])
    else {
      // With four experts, the largest entropy is ln 4.
      expect(entropy_share).toBeCloseTo((gate_entropy ?? Number.NaN) / Math.log(4), 12)
      expect(entropy_share).toBeLessThanOrEqual(1 + 1e-6)
      expect(gate_mean).toBeGreaterThan(0)
      expect(gate_mean).toBeLessThan(1)
    }
  }

  // Sinkhorn's balancing depends on later tokens only in training.
  const leaks = { training: ['expert-choice', 'sinkhorn'], evaluation: ['expert-choice'] }
  const own = 'depends on later tokens of its own text'
  expect(stdout.includes(own)).toBe(leaks.training.includes(moe.router ?? ''))
  const evaluated = await expectSuccess(workspace.start('eval', run, '--capacity', 'eval', '--json'))
  expect(evaluated.stdout.includes(own)).toBe(leaks.evaluation.includes(moe.router ?? ''))
  const written = await expectSuccess(
    workspace.start('generate', run, '--prompt', 'the people', '--tokens', '20', '--temperature', '0'),
  )
  expect(written.stdout.length).toBeGreaterThan('the people'.length)
  if (moe.router !== 'expert-choice') return
  // Dropless, every token takes its top k, as in generation.
  const dropless = await expectSuccess(workspace.start('eval', run, '--json'))
  expect(dropless.stdout).not.toContain(own)
})
