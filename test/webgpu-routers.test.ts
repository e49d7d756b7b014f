/**
 * Compares every router on a WebGPU device with the CPU: loss, counts, every gradient, and parameters after updates. A
 * different choice of an expert is not a rounding error.
 *
 * @slow
 */
import { describe, test } from 'vitest'
import { testDevice } from '../src/engine/webgpu/testing/run-kernel.ts'
import { routers } from './support/model-check.ts'
import { bothRuntimes, configOf, experts } from './support/webgpu-training.ts'

describe.skipIf(testDevice === null)('a router on a WebGPU device trains like on the CPU', () => {
  const { compare } = bothRuntimes()
  for (const [name, moe] of Object.entries(routers)) test(name, () => compare(configOf({ ...moe, experts })))
})
