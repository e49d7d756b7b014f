/** WebGPU in Node, by Dawn of the optional package `webgpu`. Browsers have `navigator.gpu` instead. */
import { option, UsageError, wording } from '../../core/errors.ts'
import { type AdapterFacts, type Device, factsOf, openDevice } from '../webgpu/device.ts'

/** The GPU object. It is kept referenced, because a long run dies if it is garbage-collected. */
let gpu: GPU | undefined

/** NVIDIA's Vulkan driver has float16, but Dawn hides it. */
const OPTIONS = ['enable-dawn-features=vulkan_enable_f16_on_nvidia,allow_unsafe_apis']

/** @throws UsageError with advice if the package or its libraries are missing */
async function nodeGpu(): Promise<GPU> {
  if (gpu) return gpu
  try {
    const { create, globals } = await import('webgpu')
    Object.assign(globalThis, globals)
    gpu = create(OPTIONS)
    return gpu
  } catch (error) {
    const reason = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)
    throw new UsageError(
      wording`no WebGPU: the package "webgpu" cannot be loaded: ${reason} (npm install webgpu; on Linux it needs a Vulkan ${wording`loader, libvulkan1 in Debian; or use ${option('runtime.device', 'cpu')})`}`,
    )
  }
}

/** @throws UsageError if there is no GPU */
export async function openNodeDevice(): Promise<Device> {
  const adapter = await (await nodeGpu()).requestAdapter(FASTEST)
  if (!adapter) throw new UsageError(wording`${NO_ADAPTER}; or use ${option('runtime.device', 'cpu')})`)
  return openDevice(adapter, factsOf(adapter).software ? waitAsleep : undefined)
}

const CELL = new Int32Array(new SharedArrayBuffer(4))

/**
 * Waits for a result of a device that computes on the cores. Dawn polls for results in every turn of the event loop,
 * which keeps a core busy that such a device needs, so turns last a millisecond during the wait.
 */
async function waitAsleep<T>(result: Promise<T>): Promise<T> {
  let isSettled = false
  const settle = () => {
    isSettled = true
  }
  result.then(settle, settle)
  while (!isSettled) {
    await new Promise(setImmediate)
    if (!isSettled) Atomics.wait(CELL, 0, 0, 1)
  }
  return result
}

const FASTEST: GPURequestAdapterOptions = { powerPreference: 'high-performance' }

const NO_ADAPTER =
  'no GPU: WebGPU found no adapter (install the driver of the GPU and a Vulkan loader, libvulkan1 in Debian; ' +
  'mesa-vulkan-drivers has a slow device for any processor'

/** An adapter with the limits that decide which models fit. */
export interface DeviceDescription extends AdapterFacts {
  readonly maxBufferBytes: number
  readonly maxBindingBytes: number
  readonly f16: boolean
  readonly subgroups: boolean
  readonly timestamps: boolean
}

export interface DeviceList {
  /** The adapters; the one that is used comes first. */
  readonly gpus: readonly DeviceDescription[]
  /** Why there is no adapter; null if there is one. */
  readonly problem: string | null
}

/** The adapters that WebGPU offers. */
export async function listDevices(): Promise<DeviceList> {
  try {
    const gpu = await nodeGpu()
    const found = new Map<string, DeviceDescription>()
    for (const options of [FASTEST, { powerPreference: 'low-power' }, { forceFallbackAdapter: true }] as const) {
      const adapter = await gpu.requestAdapter(options)
      if (adapter) found.set(`${factsOf(adapter).name} ${factsOf(adapter).description}`, describe(adapter))
    }
    const gpus = [...found.values()]
    return { gpus, problem: gpus.length > 0 ? null : `${NO_ADAPTER})` }
  } catch (error) {
    return { gpus: [], problem: error instanceof Error ? error.message : String(error) }
  }
}

const describe = (adapter: GPUAdapter): DeviceDescription => ({
  ...factsOf(adapter),
  maxBufferBytes: adapter.limits.maxBufferSize,
  maxBindingBytes: adapter.limits.maxStorageBufferBindingSize,
  f16: adapter.features.has('shader-f16'),
  subgroups: adapter.features.has('subgroups'),
  timestamps: adapter.features.has('timestamp-query'),
})
