/** @slow */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { RunInput } from '../../src/core/config/run-config.ts'
import { checkpointsOf, expectSuccess, results, trainRecords, Workspace } from './support.ts'

let workspace: Workspace
beforeAll(() => {
  workspace = new Workspace()
})
afterAll(() => workspace.remove())

/** A training so long that a signal sent after an early step arrives before the last step. */
const longRun: RunInput = { train: { steps: 300, checkpointEvery: 1000, evalEvery: 150 } }

/** Steps of many micro-batches that take seconds, so that signals arrive within a step. */
const slowSteps: RunInput = { train: { steps: 100, batch: 2400, microBatches: 1200 } }

test.skipIf(process.platform === 'win32')(
  'one Ctrl-C ends with code 130 and a checkpoint of the finished step, and the resumed run is bitwise equal',
  async () => {
    const whole = workspace.file('whole')
    const run = workspace.file('run')
    const reference = expectSuccess(workspace.start('train', workspace.config(longRun), '--out', whole, '--json'))
    const running = workspace.start('train', workspace.config(longRun), '--out', run, '--json')
    await running.step(20)
    running.kill('SIGINT')
    const { code, stdout, stderr } = await running.ended
    expect(code).toBe(130)
    const last = trainRecords(run).at(-1)?.step as number
    expect(last).toBeGreaterThanOrEqual(20)
    expect(last).toBeLessThan(300)
    expect(checkpointsOf(run)).toEqual([`step-${String(last).padStart(8, '0')}`])
    expect(stderr).toContain(`stopped after step ${last}; continue with: `)
    expect(stderr).toContain(`train --resume ${run}`)
    // Standard output still consists of lines of JSON, and the last line is the summary.
    expect(JSON.parse(stdout.trim().split('\n').at(-1) as string)).toMatchObject({
      kind: 'summary',
      interrupted: true,
      step: last,
    })
    await expectSuccess(workspace.start('train', '--resume', run, '--json'))
    await reference
    expect(results(run)).toEqual(results(whole))
  },
)

test.skipIf(process.platform === 'win32')('a second Ctrl-C ends with code 130 immediately, within a step', async () => {
  const run = workspace.file('twice')
  const running = workspace.start('train', workspace.config(slowSteps), '--out', run, '--json')
  // The first step is too early: evaluations are compiled after it, and a Ctrl-C then ends the training before step 2.
  await running.step(2)
  running.kill('SIGINT')
  await delay(150)
  const killedAt = performance.now()
  running.kill('SIGINT')
  expect((await running.ended).code).toBe(130)
  const stepMs = trainRecords(run)[1]?.step_ms as number
  // Most of the step was left, so the process did not wait for its end.
  expect(performance.now() - killedAt).toBeLessThan(stepMs / 2)
  expect(existsSync(join(run, 'checkpoints'))).toBe(false)
  expect(existsSync(join(run, '.lock'))).toBe(false)
})

test.skipIf(process.platform === 'win32')(
  'Ctrl-C while the text is read ends with code 130, and only config.json stays',
  async () => {
    const run = workspace.file('early')
    const data = { source: 'sotu', tokenizer: { kind: 'bpe' as const }, cache: workspace.file('early-cache') }
    const config = workspace.config({ model: { vocabulary: 512 }, data })
    const running = workspace.start('train', config, '--out', run, '--json')
    await running.line(({ kind }) => kind === 'prepare')
    running.kill('SIGINT')
    const { code, stdout, stderr } = await running.ended
    expect({ code, stderr }).toMatchObject({ code: 130, stderr: expect.stringContaining('stopped after step 0') })
    const summary = JSON.parse(stdout.trim().split('\n').at(-1) as string)
    expect(summary).toMatchObject({ kind: 'summary', step: 0, tokens_per_second: null, mfu: null })
    expect(readdirSync(run)).toEqual(['config.json'])
  },
)

test('a second process on the same run is refused with the id of the first, and takes over after the first dies', async () => {
  const run = workspace.file('shared')
  const first = workspace.start(
    'train',
    workspace.config({ train: { ...longRun.train, steps: 100_000 } }),
    '--out',
    run,
    '--json',
  )
  await first.step(5)
  const config = readFileSync(join(run, 'config.json'), 'utf8')
  const resumed = await workspace.choir('train', '--resume', run)
  expect(resumed).toMatchObject({ code: 1, stderr: expect.stringContaining(`in use by process ${first.pid} since`) })
  const restarted = await workspace.choir('train', workspace.config(longRun), '--out', run)
  expect(restarted).toMatchObject({ code: 2, stderr: expect.stringContaining('already holds a run') })
  expect(readFileSync(join(run, 'config.json'), 'utf8')).toBe(config)
  // The first process continues.
  await first.line(({ kind, step }) => kind === 'train' && (step as number) > 20)

  first.kill('SIGKILL')
  await first.ended
  expect(existsSync(join(run, '.lock'))).toBe(true)
  await expectSuccess(workspace.start('train', '--resume', run, '--set', 'train.steps=10', '--json'))
  expect(trainRecords(run).at(-1)?.step).toBe(10)
})
