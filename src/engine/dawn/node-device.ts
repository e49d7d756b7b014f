/** WebGPU in Node, by Dawn of the optional package `webgpu`. Browsers have `navigator.gpu` instead. */
import { option, UsageError, wording } from '../../core/errors.ts'
import type { GpuChoice } from '../contract/gpu-choice.ts'
import { type AdapterFacts, type Device, factsOf, openDevice } from '../webgpu/device.ts'
import { chooseGpu, gpuOfEnvironment } from './choose-gpu.ts'

/**
 * The GPU object of each name, and of the fastest GPU. They are kept referenced, because a long run dies if its object is
 * garbage-collected.
 */
const gpus = new Map<string | null, GPU>()

/** NVIDIA's Vulkan driver has float16, but Dawn hides it. */
const OPTIONS = ['enable-dawn-features=vulkan_enable_f16_on_nvidia,allow_unsafe_apis']

/**
 * @param name Name of the only GPU that it opens; null for any.
 * @throws UsageError with advice if the package or its libraries are missing
 */
async function nodeGpu(name: string | null = null): Promise<GPU> {
  const known = gpus.get(name)
  if (known) return known
  try {
    const { create, globals } = await import('webgpu')
    Object.assign(globalThis, globals)
    const gpu = create(name === null ? OPTIONS : [...OPTIONS, `adapter=${name}`])
    gpus.set(name, gpu)
    return gpu
  } catch (error) {
    const reason = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)
    throw new UsageError(
      wording`no WebGPU: the package "webgpu" cannot be loaded: ${reason} (npm install webgpu; on Linux it needs a Vulkan ${wording`loader, libvulkan1 in Debian; or use ${option('runtime.device', 'cpu')})`}`,
    )
  }
}

/** No GPU has this name. */
const NO_NAME = '\u0001'

/**
 * The names of all GPUs, equal ones repeatedly, in the order in which Dawn tries them. Dawn lists them only in the message
 * about a name that it does not find.
 */
async function namesOfGpus(): Promise<string[]> {
  try {
    await (await nodeGpu(NO_NAME)).requestAdapter(FASTEST)
    return []
  } catch (error) {
    if (error instanceof UsageError) throw error
    return [...String(error).matchAll(/^ \* backend: '\w+', name: '(.*)'$/gm)].map(([, name = '']) => name)
  }
}

/**
 * Opens a GPU of this machine.
 * @param choice Default: the GPU of `CHOIR_GPU`, or the fastest.
 * @throws UsageError if there is no GPU, or not the chosen one
 */
export async function openNodeDevice({
  index = gpuOfEnvironment(process.env),
  place,
}: GpuChoice = {}): Promise<Device> {
  const isAny = index === undefined && (place?.size ?? 1) === 1
  const names = isAny ? [] : await namesOfGpus()
  const name = names.length > 0 ? chooseGpu(names, { index, place }) : null
  const adapter = await (await nodeGpu(name)).requestAdapter(FASTEST)
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
  /** The GPUs, by their numbers; the fastest comes first. */
  readonly gpus: readonly DeviceDescription[]
  /** Why there is no adapter; null if there is one. */
  readonly problem: string | null
}

/** The GPUs that WebGPU offers. */
export async function listDevices(): Promise<DeviceList> {
  try {
    const names = await namesOfGpus()
    const gpus: DeviceDescription[] = []
    // Dawn opens the first of several equal GPUs, which describes all of them.
    for (const name of names.length > 0 ? names : [null]) {
      const adapter = await (await nodeGpu(name)).requestAdapter(FASTEST)
      if (adapter) gpus.push(describe(adapter))
    }
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
