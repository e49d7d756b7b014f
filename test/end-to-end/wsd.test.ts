/**
 * Runs of the schedule `wsd`: a shorter run is a branch of a longer run, from the checkpoint at the start of its decay.
 *
 * @slow
 */
import { createHash } from 'node:crypto'
import { cpSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { checkpointsOf, expectSuccess, results, Workspace } from './support.ts'

let workspace: Workspace
let short: string
let long: string
beforeAll(async () => {
  workspace = new Workspace()
  short = await run('short', { steps: 20, checkpointEvery: 7, keep: 1 })
  long = await run('long', { steps: 40, checkpointEvery: 15, keep: 9 })
})
afterAll(() => workspace.remove())

async function run(name: string, counts: { steps: number; checkpointEvery: number; keep: number }): Promise<string> {
  const schedule = { kind: 'wsd' as const, learningRate: 3e-3, warmup: 5, decay: 0.25 }
  const config = workspace.config({ train: { ...counts, evalEvery: 10, schedule } })
  await expectSuccess(workspace.start('train', config, '--out', workspace.file(name)))
  return workspace.file(name)
}

async function fork(name: string, of: string, checkpoint: number, steps: number): Promise<string> {
  const args = ['--fork', of, '--checkpoint', String(checkpoint), '--steps', String(steps)]
  await expectSuccess(workspace.start('train', ...args, '--out', workspace.file(name)))
  return workspace.file(name)
}

/** A copy of the short run as it was after step 15, the last step at the peak rate. */
function stoppedBeforeDecay(name: string): string {
  const copy = workspace.file(name)
  cpSync(short, copy, { recursive: true })
  rmSync(join(copy, 'checkpoints', 'step-00000020'), { recursive: true })
  return copy
}

function expectSameEnd(one: string, other: string, step: string): void {
  const hash = (run: string, name: string) =>
    createHash('sha256')
      .update(readFileSync(join(run, 'checkpoints', step, name)))
      .digest('hex')
  for (const name of ['model.safetensors', 'optimizer.safetensors']) expect(hash(one, name)).toBe(hash(other, name))
}

test('a run keeps the checkpoint at the start of its decay besides the newest ones', () => {
  expect(checkpointsOf(short)).toEqual(['step-00000015', 'step-00000020'])
  expect(checkpointsOf(long)).toEqual(['step-00000015', 'step-00000030', 'step-00000040'])
})

test('a fork from the start of the decay, with fewer or more steps, ends as the run of these steps, bit for bit', async () => {
  expectSameEnd(await fork('shorter', long, 15, 20), short, 'step-00000020')
  expectSameEnd(await fork('longer', short, 15, 40), long, 'step-00000040')
})

test('a run that is resumed at the start of its decay, with more steps, has the records and the end of the longer run', async () => {
  const resumed = stoppedBeforeDecay('resumed')
  await expectSuccess(workspace.start('train', '--resume', resumed, '--steps', '40'))
  expectSameEnd(resumed, long, 'step-00000040')
  expect(results(resumed)).toEqual(results(long))
})

test('a run that is extended within its decay warns, with the fork that would be a run of these steps', async () => {
  const extend = async (path: string) => {
    const { stdout, stderr, code } = await workspace.choir('train', '--resume', path, '--steps', '22', '--no-sample')
    expect(code).toBe(0)
    return `${stdout}${stderr}`.replace(/\s+/g, ' ')
  }
  const ended = workspace.file('ended')
  cpSync(short, ended, { recursive: true })
  expect(await extend(ended)).toMatch(
    /differ from step 16 on, and this run has done 20 steps of 20\. .*--fork \S+ended --checkpoint 15 --steps 22/,
  )
  expect(await extend(stoppedBeforeDecay('quiet'))).not.toContain('differ from step')
})
