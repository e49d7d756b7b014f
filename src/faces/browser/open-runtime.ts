/**
 * The GPU of the browser as a runtime. The types here mention nothing of WebGPU, because a user of the library may have
 * no types of WebGPU.
 */
import type { Runtime } from '../../engine/contract/runtime.ts'
import { openBrowserDevice, whyNoGpu } from '../../engine/webgpu/browser.ts'
import { createDeviceRuntime } from '../../engine/webgpu/runtime.ts'

/**
 * Opens the GPU of the browser, in a page or in a worker.
 * @throws RuntimeError if the browser has no WebGPU or no GPU; the message has what to do about it
 */
export const openBrowserRuntime = async (): Promise<Runtime> => createDeviceRuntime(await openBrowserDevice())

/** The reason why this browser cannot compute, and what to do about it; null if it can. */
export const missingGpu = (): Promise<string | null> => whyNoGpu()
