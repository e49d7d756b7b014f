/** The dashboard of `choir train --watch` when the training is killed: no process may be left behind. */
import { spawnSync } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Collection } from '../../src/watch/api.ts'
import { soon } from './dashboard-page.ts'
import { type Running, Workspace } from './support.ts'

const ps = () => spawnSync('ps', ['-A', '-o', 'stat=,args='], { encoding: 'utf8' })

describe.skipIf(ps().status !== 0)('a training with --watch that is killed', { timeout: 60_000 }, () => {
  let workspace: Workspace
  let config: string
  beforeAll(() => {
    workspace = new Workspace()
    config = workspace.config({ train: { steps: 200_000, checkpointEvery: 50, routingEvery: 10 } })
  })
  afterAll(() => workspace.remove())

  const start = (run: string) => workspace.start('train', config, '--out', workspace.file(run), '--watch', '--json')
  /** Of a run, the processes that work; one that ended may wait for somebody to notice. */
  const processes = (run: string) =>
    ps()
      .stdout.split('\n')
      .filter((line) => line.includes(workspace.file(run)) && !line.startsWith('Z'))
  const killed = async (running: Running) => {
    running.kill('SIGKILL')
    await running.ended
  }

  test('takes its dashboard along, and the process of the model that the dashboard asked', async () => {
    const running = start('asked')
    const { address } = await running.line(({ kind }) => kind === 'watch')
    const ask = async (path: string, body?: object) => {
      const headers = { 'content-type': 'application/json' }
      return fetch(new URL(path, String(address)), body ? { method: 'POST', headers, body: JSON.stringify(body) } : {})
    }
    const theRun = async () => ((await (await ask('/api/collection')).json()) as Collection).runs[0]
    await expect.poll(async () => (await theRun())?.traceable, soon).toBe(true)
    const trace = await ask('/api/trace', { run: (await theRun())?.id, text: 'of states' })
    expect(trace.status).toBe(200)
    expect(processes('asked')).toHaveLength(3)
    await killed(running)
    await expect.poll(() => processes('asked'), soon).toEqual([])
    await expect(ask('/api/collection')).rejects.toThrow()
  })

  test('takes a dashboard along that has only just begun', async () => {
    const running = start('begun')
    await expect.poll(() => processes('begun'), { ...soon, interval: 5 }).toHaveLength(2)
    await killed(running)
    await expect.poll(() => processes('begun'), soon).toEqual([])
  })
})
