import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'choir-bin-'))
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  mkdirSync(join(folder, 'bin'))
  copyFileSync(fileURLToPath(new URL('../../../bin/choir.js', import.meta.url)), join(folder, 'bin', 'choir.js'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Runs the copied bin on this Node, pretending that its version is `version`. */
function choir(version?: string): { status: number | null; stdout: string; stderr: string } {
  const preload = join(folder, 'version.cjs')
  writeFileSync(
    preload,
    version === undefined
      ? ''
      : `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${version}' } })`,
  )
  return spawnSync(process.execPath, ['--require', preload, join(folder, 'bin', 'choir.js')], { encoding: 'utf8' })
}

test('in a clone that is not built, the message has the command that builds it', () => {
  expect(choir()).toMatchObject({ status: 1, stdout: '', stderr: 'choir: not built yet (run: npm run build)\n' })
})

test('Node versions that are too old are refused, newer ones run the program', () => {
  mkdirSync(join(folder, 'dist', 'faces', 'cli', 'program'), { recursive: true })
  writeFileSync(
    join(folder, 'dist', 'faces', 'cli', 'program', 'process.js'),
    `export const runProcess = () => console.log('ran')`,
  )
  for (const version of ['18.20.4', '20.18.3', '8.0.0'])
    expect(choir(version)).toMatchObject({
      status: 1,
      stdout: '',
      stderr: expect.stringContaining(`Node ${version} is too old (expected 20.19 or later`),
    })
  for (const version of ['20.19.0', '22.0.0']) expect(choir(version)).toMatchObject({ status: 0, stdout: 'ran\n' })
})

// The first limit is too low for the modules of every command, the second for those of all commands together.
test.skipIf(process.platform === 'win32').each([22, 32])('the error names a limit of %i open files', (limit) => {
  const bin = fileURLToPath(new URL('../../../bin/choir.js', import.meta.url))
  const script = `ulimit -n ${limit}; exec "${process.execPath}" "${bin}" --help`
  const { status, stderr } = spawnSync('bash', ['-c', script], { encoding: 'utf8', cwd: folder })
  const refused = [1, expect.stringMatching(/^choir: [^\n]*open[^\n]*files[^\n]*ulimit -n 1024\)\n$/)]
  // Node 20 opens modules all at once, later versions one after the other.
  expect([status, stderr]).toEqual(process.versions.node.startsWith('20.') ? refused : [0, ''])
})
