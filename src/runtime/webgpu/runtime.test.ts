import { describe } from 'vitest'
import { describeRuntime } from '../testing/conformance.ts'
import { openNodeDevice } from './node.ts'
import { createDeviceRuntime } from './runtime.ts'
import { testDevice } from './testing/run-kernel.ts'

describe.skipIf(testDevice === null)('on the first adapter', () => {
  describeRuntime('webgpu', async (options) => createDeviceRuntime(await openNodeDevice(), options), {
    float64: false,
    sync: false,
    threads: false,
  })
})
