/** The conformance suite of kernels with the primitives of ONNX Runtime, which machines without oneDNN use. */
import { describe, expect, test } from 'vitest'
import { createRuntime } from '../src/engine/cpu/cpu-runtime.ts'
import { checkKernels } from './support/kernel-suite.ts'

// Read when the first runtime is created, and inherited by nothing else: a test file has a process of its own.
process.env.CHOIR_DNNL = 'off'

test('a runtime without oneDNN has every kernel of one with it', async () => {
  const runtime = await createRuntime({ threads: 1 })
  expect(runtime.provider).toMatch(/CHOIR_DNNL is off/)
  expect(runtime.kernels.names.has('matmul')).toBe(true)
  await runtime.close()
})

describe('kernels agree with float64', checkKernels)
