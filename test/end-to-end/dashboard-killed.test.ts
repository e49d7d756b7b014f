/**
 * Kills `choir train --watch`: no process of its dashboard may remain.
 *
 * @slow
 */
import { spawnSync } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Collection } from '../../src/faces/watch/api.ts'
import { soon } from './dashboard-page.ts'
import { type ChoirProcess, Workspace } from './support.ts'

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
  /** Processes that have the run in their command line, without zombies. */
  const processes = (run: string) =>
    ps()
      .stdout.split('\n')
      .filter((line) => line.includes(workspace.file(run)) && !line.startsWith('Z'))
  const killed = async (running: ChoirProcess) => {
    running.kill('SIGKILL')
    await running.ended
  }

  test('ends its dashboard and the model process of the dashboard', async () => {
    const running = start('asked')
    const { address } = await running.line(({ kind }) => kind === 'watch')
    const ask = async (path: string, body?: object) => {
      const headers = { 'content-type': 'application/json' }
      return fetch(new URL(path, String(address)), body ? { method: 'POST', headers, body: JSON.stringify(body) } : {})
    }
    const watchedRun = async () => ((await (await ask('/api/collection')).json()) as Collection).runs[0]
    await expect.poll(async () => (await watchedRun())?.traceable, soon).toBe(true)
    const trace = await ask('/api/trace', { run: (await watchedRun())?.id, text: 'of states' })
    expect(trace.status).toBe(200)
    expect(processes('asked')).toHaveLength(3)
    await killed(running)
    await expect.poll(() => processes('asked'), soon).toEqual([])
    await expect(ask('/api/collection')).rejects.toThrow()
  })

  test('ends a dashboard that is still starting', async () => {
    const running = start('begun')
    await expect.poll(() => processes('begun'), { ...soon, interval: 5 }).toHaveLength(2)
    await killed(running)
    await expect.poll(() => processes('begun'), soon).toEqual([])
  })
})
