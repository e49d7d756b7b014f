/** WebGPU in a browser: `navigator.gpu`. */
import { RuntimeError } from '../runtime-error.ts'
import { type Device, openDevice } from './device.ts'

const BROWSERS =
  'Chrome and Edge from 113, Safari from 26, Firefox from 141 on Windows and 145 on macOS have it; a page needs https ' +
  'or localhost'

/**
 * Opens the GPU of the browser, in a page or in a worker.
 * @throws RuntimeError if there is none, with the browsers that have WebGPU
 */
export async function openBrowserDevice(): Promise<Device> {
  const { navigator } = globalThis as { readonly navigator?: { readonly gpu?: GPU } }
  const gpu = navigator?.gpu
  if (!gpu) throw new RuntimeError(`no WebGPU in this browser (${BROWSERS})`)
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' })
  if (!adapter)
    throw new RuntimeError(
      'no GPU: this browser has WebGPU, but no GPU that it supports (update the driver of the GPU, and see that hardware ' +
        'acceleration is not turned off in the settings of the browser)',
    )
  return openDevice(adapter)
}
