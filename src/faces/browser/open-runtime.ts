/** The GPU of the browser as a runtime. Types here name none of WebGPU, which TypeScript's libraries lack. */
import type { Runtime } from '../../engine/contract/runtime.ts'
import { openBrowserDevice, whyNoGpu } from '../../engine/webgpu/browser.ts'
import { createDeviceRuntime } from '../../engine/webgpu/runtime.ts'

/**
 * Opens the GPU of the browser, in a page or in a worker.
 * @throws RuntimeError if there is none, with the browsers that have WebGPU
 */
export const openBrowserRuntime = async (): Promise<Runtime> => createDeviceRuntime(await openBrowserDevice())

/** Why this browser cannot compute, with what to do about it; null if it can. */
export const missingGpu = (): Promise<string | null> => whyNoGpu()
