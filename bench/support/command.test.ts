/** Benchmarks as a shell runs them: the exit code if nobody reads their output, or if it cannot be written. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const findings = ['--import', 'tsx', 'bench/studies/seeds.ts', 'docs/results/seeds']

test('a benchmark whose reader has closed the pipe ends without an error', async () => {
  const child = spawn(process.execPath, findings, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
  child.stdout.destroy()
  const errors: string[] = []
  child.stderr.on('data', (text) => errors.push(String(text)))
  expect([...(await once(child, 'close')), errors.join('')]).toEqual([0, null, ''])
})

test.skipIf(process.platform !== 'linux')(
  'a benchmark whose output does not fit on the disk says so, and fails',
  async () => {
    const command = `exec "$0" "$@" > /dev/full`
    const ended = promisify(execFile)('/bin/sh', ['-c', command, process.execPath, ...findings], { cwd: root })
    await expect(ended).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('cannot write to standard output'),
    })
  },
)
