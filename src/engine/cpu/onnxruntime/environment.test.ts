/**
 * Tests that the telemetry of ONNX Runtime on Linux and macOS is off. It would write an identifier of the device, and
 * end the process with a segmentation fault if the command line is long (`generate --prompt` of 15,000 letters did so).
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const built = new URL('../../../../dist/engine/cpu/onnxruntime/environment.js', import.meta.url)
const start = `import('${built}').then(({ acquireEnvironment }) => { acquireEnvironment(); console.log('started') })`
const inWorker = `new (require('node:worker_threads').Worker)(${JSON.stringify(start)}, { eval: true })`

const argument = { 'a short command line': '', 'one of 40,000 letters': 'a'.repeat(40_000) }

test.each([
  ['main thread', 'a short command line', start],
  ['main thread', 'one of 40,000 letters', start],
  ['worker thread', 'a short command line', inWorker],
  ['worker thread', 'one of 40,000 letters', inWorker],
] as const)(
  'in a %s with %s the library starts, and writes nothing into home and temporary folders',
  (_, line, code) => {
    const folder = mkdtempSync(join(tmpdir(), 'choir-telemetry-'))
    try {
      // The process has folders of its own, and no variable CI, which would turn telemetry off.
      const env = { HOME: folder, TMPDIR: folder, TEMP: folder, SystemRoot: process.env.SystemRoot }
      const output = execFileSync(process.execPath, ['--eval', code, argument[line]], { env, encoding: 'utf8' })
      expect(output).toBe('started\n')
      expect(readdirSync(folder)).toEqual([])
    } finally {
      rmSync(folder, { recursive: true })
    }
  },
)
