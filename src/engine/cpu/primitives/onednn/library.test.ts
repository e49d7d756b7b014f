/** Tests of the search for oneDNN. Each case runs in its own process, because the result is cached. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, onTestFinished, test } from 'vitest'
import { packageFile } from '../../../../core/package-file.ts'
import { findDnnl } from './library.ts'

const built = (path: string): string => JSON.stringify(packageFile(`dist/engine/cpu/${path}`).href)

/** Runs a module in a process with these variables; returns its output, parsed as JSON. */
async function inProcess(code: string, env: Record<string, string>): Promise<Record<string, unknown>> {
  const { CHOIR_DNNL: _, ...inherited } = process.env
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code], {
    cwd: fileURLToPath(packageFile('')),
    env: { ...inherited, ...env },
  })
  return JSON.parse(stdout) as Record<string, unknown>
}

/** The result of the search, or the error's name and message. */
const find = (env: Record<string, string>) =>
  inProcess(
    `import { findDnnl } from ${built('primitives/onednn/library.js')}
     let result
     try { result = findDnnl() } catch ({ name, message }) { result = { name, message } }
     console.log(JSON.stringify(result))`,
    env,
  )

/** The properties of a runtime that was created with the given math. */
const runtime = (math: string, env: Record<string, string>) =>
  inProcess(
    `import { createRuntime } from ${built('cpu-runtime.js')}
     const runtime = await createRuntime({ threads: 1, math: ${JSON.stringify(math)} })
     const { math, provider, notice = null, kernels } = runtime
     console.log(JSON.stringify({ math, provider, notice, kernels: [...kernels.names] }))
     await runtime.close()`,
    env,
  )

const usageError = async (path: string): Promise<string> => {
  const { name, message } = await find({ CHOIR_DNNL: path })
  expect(name).toBe('UsageError')
  expect(message).toMatch(/^invalid CHOIR_DNNL: .*\(expected the path of libdnnl 3, or off\)$/s)
  expect(message).toContain(path)
  return message as string
}

describe('CHOIR_DNNL', () => {
  test('off disables oneDNN, but no kernel', async () => {
    expect(await find({ CHOIR_DNNL: 'off' })).toEqual({ missing: 'CHOIR_DNNL is off' })
    expect(await runtime('float32', { CHOIR_DNNL: 'off' })).toEqual({
      math: 'float32',
      provider: 'ONNX Runtime alone (CHOIR_DNNL is off)',
      notice: null,
      kernels: (await runtime('float32', {})).kernels,
    })
  })

  test('a path without a file is a usage error with the path and the expected value', async () => {
    await usageError(join(tmpdir(), 'choir-nothing', 'libdnnl.so.3'))
  })

  test('a file that is not a library is a usage error', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'choir-dnnl-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    const path = join(folder, 'libdnnl.so.3')
    await writeFile(path, 'not a library')
    await usageError(path)
  })

  test.runIf(process.platform === 'linux')('a library other than oneDNN is a usage error with the reason', async () => {
    expect(await usageError('libm.so.6')).toContain('libm.so.6 is not oneDNN')
  })

  test('an empty value is the same as no value', async () => {
    expect(await find({ CHOIR_DNNL: '' })).toEqual(await find({}))
  })
})

describe('bf16', () => {
  test('falls back to float32 without oneDNN, with a notice of the reason', async () => {
    const { math, notice } = await runtime('bf16', { CHOIR_DNNL: 'off' })
    expect(math).toBe('float32')
    expect(notice).toMatch(/float32.*no bf16.*CHOIR_DNNL is off/)
  })

  const library = findDnnl()
  // ONEDNN_MAX_CPU_ISA restricts the instructions that oneDNN uses.
  test.runIf('path' in library && process.arch === 'x64')(
    'falls back to float32 on a CPU without bfloat16, with a notice',
    async () => {
      const { math, notice, kernels } = await runtime('bf16', { ONEDNN_MAX_CPU_ISA: 'AVX2' })
      expect(math).toBe('float32')
      expect(notice).toMatch(/float32.*this CPU does not multiply bfloat16/)
      expect(kernels).toContain('matmul')
    },
  )

  test.runIf('path' in library && library.bf16)('is used if the CPU has it, without a notice', async () => {
    expect(await runtime('bf16', {})).toMatchObject({ math: 'bf16', notice: null })
  })
})
