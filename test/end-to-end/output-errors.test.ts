/**
 * Standard output and standard error on a full device, closed, or without a reader. Tests need `/dev/full` of Linux.
 *
 * @slow
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { checkpointsOf, Workspace } from './support.ts'

const bin = fileURLToPath(new URL('../../bin/choir.js', import.meta.url))
const isLinux = existsSync('/dev/full')

let workspace: Workspace
beforeAll(() => {
  workspace = new Workspace()
})
afterAll(() => workspace.remove())

/** Runs a line of bash, in which `choir` is the program. The exit code comes from `choir`, also in a pipe. */
function bash(line: string): { readonly code: number | null; readonly stdout: string; readonly stderr: string } {
  const script = `choir() { "${process.execPath}" "${bin}" "$@"; }; ${line}; exit \${PIPESTATUS[0]}`
  const { status, stdout, stderr } = spawnSync('bash', ['-c', script], { cwd: workspace.path, encoding: 'utf8' })
  return { code: status, stdout, stderr }
}

const LOST = 'choir: cannot write to standard output: ENOSPC: no space left on device, write\n'

test.skipIf(!isLinux)('a training whose log is on a full disk goes on, reports it once, and ends with 1', () => {
  const config = workspace.config({ train: { steps: 6, schedule: { warmup: 1 } } })
  for (const flags of ['', '--json']) {
    const run = `full${flags}`
    expect(bash(`choir train ${config} ${flags} --out ${run} > /dev/full`)).toMatchObject({ code: 1, stderr: LOST })
    expect(checkpointsOf(workspace.file(run))).toEqual(['step-00000006'])
  }
  expect(bash(`choir train ${config} --out both > /dev/full 2>&1`)).toEqual({ code: 1, stdout: '', stderr: '' })
  expect(checkpointsOf(workspace.file('both'))).toEqual(['step-00000006'])
})

test.skipIf(!isLinux)('a command whose output is lost ends with 1 and one message', () => {
  for (const command of ['inspect tiny', '--help', 'plan m6t-1t --cluster v100-480 --json'])
    expect(bash(`choir ${command} > /dev/full`)).toEqual({ code: 1, stdout: '', stderr: LOST })
})

test.skipIf(!isLinux)('the exit code does not depend on a standard error that cannot be written to', () => {
  for (const place of ['/dev/full', '&-'])
    expect(bash(`choir train tiny --data nowhere 2>${place}`)).toEqual({ code: 2, stdout: '', stderr: '' })
})

test.skipIf(!isLinux)('a training works with standard output and standard error closed', () => {
  const config = workspace.config({ train: { steps: 6 } })
  expect(bash(`choir train ${config} --out closed >&- 2>&-`)).toEqual({ code: 0, stdout: '', stderr: '' })
  expect(checkpointsOf(workspace.file('closed'))).toEqual(['step-00000006'])
})

test.skipIf(!isLinux)('when the reader goes away, a training saves and stops; other commands end in silence', () => {
  const config = workspace.config({ train: { steps: 100_000 } })
  const { code, stderr } = bash(`choir train ${config} --json --out head | grep -m1 -q '"step":20,'`)
  expect({ code, stderr }).toEqual({
    code: 130,
    stderr: expect.stringMatching(/^choir: stopped after step \d+; continue with: choir train --resume head\n$/),
  })
  expect(checkpointsOf(workspace.file('head')).length).toBeGreaterThan(0)
  expect(bash('choir inspect tiny | true')).toEqual({ code: 0, stdout: '', stderr: '' })
})
