/**
 * The conformance suite of kernels with the primitives of ONNX Runtime, which machines without oneDNN use.
 *
 * @slow
 */
import { describe, expect, test } from 'vitest'
import { createRuntime } from '../src/engine/cpu/cpu-runtime.ts'
import { checkKernels } from './support/kernel-suite.ts'

// The variable is read when the first runtime is created. No other test inherits it: a test file has its own process.
process.env.CHOIR_DNNL = 'off'

test('a runtime without oneDNN has kernels too', async () => {
  const runtime = await createRuntime({ threads: 1 })
  expect(runtime.provider).toMatch(/CHOIR_DNNL is off/)
  expect(runtime.kernels.names.has('matmul')).toBe(true)
  await runtime.close()
})

describe('kernels agree with float64', checkKernels)
