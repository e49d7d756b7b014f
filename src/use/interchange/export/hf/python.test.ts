import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { pythonWithTorch } from './python.ts'

const folder = mkdtempSync(join(tmpdir(), 'choir-python-'))
const path = process.env.PATH
afterAll(() => {
  process.env.PATH = path
  rmSync(folder, { recursive: true })
})

test.skipIf(process.platform === 'win32')(
  'PyTorch is imported once in a process, however often it is asked for',
  async () => {
    const log = join(folder, 'log')
    writeFileSync(join(folder, 'python3'), `#!/bin/sh\necho "$@" >> ${log}\n`)
    chmodSync(join(folder, 'python3'), 0o755)
    process.env.PATH = `${folder}:${path}`
    expect(existsSync(log)).toBe(false)
    expect(await Promise.all([pythonWithTorch(), pythonWithTorch()])).toEqual(['python3', 'python3'])
    expect(await pythonWithTorch()).toBe('python3')
    expect(readFileSync(log, 'utf8')).toBe('-c import torch\n')
  },
)
