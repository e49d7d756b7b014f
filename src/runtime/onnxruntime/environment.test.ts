/** ONNX Runtime has telemetry of its own on Linux and macOS, which a training must not start. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'

test('the library identifies nobody: it writes nothing into the home and temporary folders', () => {
  const folder = mkdtempSync(join(tmpdir(), 'choir-telemetry-'))
  try {
    const built = new URL('../../../dist/runtime/onnxruntime/environment.js', import.meta.url)
    const script = `import { acquireEnvironment } from '${built}'\nacquireEnvironment()`
    // Its own folders, and no variable CI, which turns telemetry off.
    const env = { HOME: folder, TMPDIR: folder, TEMP: folder, SystemRoot: process.env.SystemRoot }
    execFileSync(process.execPath, ['--input-type=module', '--eval', script], { env })
    expect(readdirSync(folder)).toEqual([])
  } finally {
    rmSync(folder, { recursive: true })
  }
})
