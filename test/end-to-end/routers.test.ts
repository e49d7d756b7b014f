/** Training, resuming, evaluating and generating with routers whose state must be in the checkpoint. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { RunInput } from '../../src/config/run-config.ts'
import { evalRecords, expectSuccess, results, trainRecords, Workspace } from './support.ts'

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
])('%o trains, resumes bitwise, evaluates and generates', async (moe) => {
  const config = (steps: number) =>
    workspace.config({
      model: { vocabulary: 257, moe },
      train: { steps, evalEvery: 5, schedule: { kind: 'constant', learningRate: 3e-3, warmup: 2 } },
    })
  const name = `${moe.router}-${moe.selection ?? ''}`
  const [whole, run] = [workspace.file(`whole-${name}`), workspace.file(name)]
  const reference = expectSuccess(workspace.start('train', config(10), '--out', whole, '--no-sample'))
  await expectSuccess(workspace.start('train', config(5), '--out', run, '--no-sample'))
  const { stdout } = await expectSuccess(
    workspace.start('train', '--resume', run, '--set', 'train.steps=10', '--json', '--no-sample'),
  )
  await reference
  expect(results(run)).toEqual(results(whole))
  for (const { unserved_rate, drop_rate } of [...trainRecords(run), ...evalRecords(run)]) {
    expect(unserved_rate).toBeGreaterThanOrEqual(0)
    expect(unserved_rate).toBeLessThan(1)
    if (moe.router === 'expert-choice') expect(drop_rate).toBe(0)
    // An unserved token has lost all its choices.
    else expect(unserved_rate).toBeLessThanOrEqual(drop_rate + 1e-6)
  }

  const evaluated = await expectSuccess(workspace.start('eval', run, '--capacity', 'eval', '--json'))
  const dropless = await expectSuccess(workspace.start('eval', run, '--json'))
  const written = await expectSuccess(
    workspace.start('generate', run, '--prompt', 'the people', '--tokens', '20', '--temperature', '0'),
  )
  expect(written.stdout.length).toBeGreaterThan('the people'.length)
  // Sinkhorn's balancing depends on later tokens only in training.
  const leaks = { training: ['expert-choice', 'sinkhorn'], evaluation: ['expert-choice'] }
  const own = 'depends on later tokens of its own text'
  expect(stdout.includes(own)).toBe(leaks.training.includes(moe.router ?? ''))
  expect(evaluated.stdout.includes(own)).toBe(leaks.evaluation.includes(moe.router ?? ''))
  // Dropless, every token takes its top k, as in generation.
  expect(dropless.stdout).not.toContain(own)
})
