/** WebGPU in a browser: `navigator.gpu`. */
import { RuntimeError } from '../contract/runtime-error.ts'
import { type Device, openDevice } from './device.ts'

const BROWSERS =
  'Chrome and Edge from 113, Safari from 26, Firefox from 141 on Windows and 145 on macOS have it; a page needs https ' +
  'or localhost'

type Gpu = { readonly navigator?: { readonly gpu?: GPU } }

/**
 * Opens the GPU of the browser, in a page or in a worker.
 * @throws RuntimeError if there is no GPU, naming the browsers that have WebGPU
 */
export async function openBrowserDevice(): Promise<Device> {
  const found = await findAdapter()
  if (typeof found === 'string') throw new RuntimeError(found)
  return openDevice(found)
}

/** The reason why this browser cannot compute on a GPU, with advice; null if it can. */
export async function whyNoGpu(): Promise<string | null> {
  const found = await findAdapter()
  return typeof found === 'string' ? found : null
}

/** The adapter, or the reason why there is none. */
async function findAdapter(): Promise<GPUAdapter | string> {
  const gpu = (globalThis as Gpu).navigator?.gpu
  if (!gpu) return `no WebGPU in this browser (${BROWSERS})`
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' })
  return (
    adapter ??
    'no GPU: this browser has WebGPU, but no GPU that it supports (update the driver of the GPU, and see that hardware ' +
      'acceleration is not turned off in the settings of the browser)'
  )
}
