import { statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test, vi } from 'vitest'
import { temporaryFolder } from '../../src/node/data/testing/temporary-folder.ts'
import { runProgram } from './programs.ts'

const temporary = temporaryFolder()

// A child that writes on, like the tar of dpkg-deb. Windows has no groups of processes.
test.skipIf(process.platform === 'win32')('an aborted program is stopped with its children', async () => {
  const folder = temporary.make()
  const size = () => statSync(join(folder, 'written'), { throwIfNoEntry: false })?.size ?? 0
  const stopping = new AbortController()
  const running = runProgram(['sh', '-c', '(while :; do echo >> written; sleep 0.02; done) & wait'], {
    folder,
    missing: '',
    signal: stopping.signal,
  }).catch((error: unknown) => error)
  await vi.waitFor(() => expect(size()).toBeGreaterThan(1), { timeout: 10_000 })
  stopping.abort(new Error('stopped'))
  expect(await running).toMatchObject({ message: 'stopped' })
  const before = size()
  await delay(500)
  expect(size()).toBe(before)
})
