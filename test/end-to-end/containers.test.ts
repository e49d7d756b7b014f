/**
 * Trainings in containers that share a host name and a run, as containers of Kubernetes do after a restart.
 *
 * @slow
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { inContainer } from '../../src/node/system/testing/container.ts'
import { ChoirProcess, expectSuccess, results, trainRecords, Workspace } from './support.ts'

describe.skipIf(!inContainer)('containers', () => {
  let workspace: Workspace
  beforeAll(() => {
    workspace = new Workspace()
  })
  afterAll(() => workspace.remove())

  /** Starts a training as process 1 of a container of its own. */
  const start = (...args: string[]): ChoirProcess => {
    const [command = '', ...more] = inContainer as readonly string[]
    return new ChoirProcess(args, workspace.path, { command, args: more, env: {} })
  }

  test('do not train the same run at once, and a killed training continues after a restart', async () => {
    const config = workspace.config({ train: { steps: 400, checkpointEvery: 20, evalEvery: 200 } })
    const [whole, run] = [workspace.file('whole'), workspace.file('run')]
    const reference = expectSuccess(workspace.start('train', config, '--out', whole, '--json'))
    const first = start('train', config, '--out', run, '--json')
    await first.step(30)
    const second = await start('train', '--resume', run).ended
    expect(second).toMatchObject({ code: 1, stderr: expect.stringMatching(/in use by process 1 in another container/) })
    const outside = await workspace.choir('train', '--resume', run)
    expect(outside).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/in use by process 1 in another container/),
    })
    first.kill('SIGKILL')
    await first.ended
    expect(existsSync(join(run, '.lock'))).toBe(true)
    expect(trainRecords(run).at(-1)?.step).toBeLessThan(400)
    await expectSuccess(start('train', '--resume', run, '--json'))
    await reference
    expect(results(run)).toEqual(results(whole))
  })
})
