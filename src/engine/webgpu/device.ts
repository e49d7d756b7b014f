/**
 * A WebGPU device with its limits, pipelines and errors. An error of the device is remembered and thrown by the next
 * `check`: WebGPU reports errors late, and a readback after a refused submit resolves with old bytes.
 */
import { option, wording } from '../../core/errors.ts'
import { RuntimeError } from '../contract/runtime-error.ts'
import type { DeviceFeatures } from './kernels/contract.ts'

/** Facts about an adapter that users need to know. */
export interface AdapterFacts {
  readonly name: string
  readonly vendor: string
  readonly architecture: string
  /** Driver, if the browser or Dawn reports it. */
  readonly description: string
  /** Whether the adapter is software, which computes on a processor of the machine. */
  readonly software: boolean
}

/** Waits for a promise of the device. */
export type Wait = <T>(result: Promise<T>) => Promise<T>

export interface Device {
  readonly gpu: GPUDevice
  readonly adapter: AdapterFacts
  readonly features: DeviceFeatures
  /** Compiles WGSL, once for equal text. */
  pipeline(code: string, label: string): GPUComputePipeline
  /** Compiles several modules at the same time, for later calls of {@link pipeline}. */
  compile(modules: readonly { readonly code: string; readonly label: string }[]): Promise<void>
  /** @throws RuntimeError that the device has reported since the last call */
  check(): void
  /** Waits for something that the device does. */
  readonly wait: Wait
  /** Waits for all submitted work. @throws RuntimeError as {@link check} */
  idle(): Promise<void>
  destroy(): void
}

export const factsOf = ({ info }: GPUAdapter): AdapterFacts => ({
  name: info.device || info.description || info.architecture || 'unknown',
  vendor: info.vendor,
  architecture: info.architecture,
  description: info.description,
  software: isSoftware(info),
})

const isSoftware = ({ architecture, device, description }: GPUAdapterInfo): boolean =>
  /llvmpipe|swiftshader|software|lavapipe/i.test(`${architecture} ${device} ${description}`)

/** Features that kernels use on devices that have them. */
const OPTIONAL: readonly GPUFeatureName[] = ['shader-f16', 'timestamp-query']

const LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
] as const satisfies readonly (keyof GPUSupportedLimits)[]

/**
 * @param wait How to wait for results, if awaiting them is not enough
 * @throws RuntimeError if the adapter gives no device
 */
export async function openDevice(adapter: GPUAdapter, wait: Wait = (result) => result): Promise<Device> {
  const requiredFeatures = OPTIONAL.filter((name) => adapter.features.has(name))
  const requiredLimits = Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name] as number]))
  const gpu = await adapter.requestDevice({ requiredFeatures, requiredLimits }).catch((error: unknown) => {
    throw new RuntimeError(`cannot open the GPU ${factsOf(adapter).name}: ${messageOf(error)}`)
  })
  return new OpenDevice(gpu, factsOf(adapter), wait)
}

class OpenDevice implements Device {
  readonly gpu: GPUDevice
  readonly adapter: AdapterFacts
  readonly features: DeviceFeatures
  readonly wait: Wait
  private readonly pipelines = new Map<string, GPUComputePipeline>()
  private failure: RuntimeError | undefined
  private destroyed = false

  constructor(gpu: GPUDevice, adapter: AdapterFacts, wait: Wait) {
    this.gpu = gpu
    this.adapter = adapter
    this.wait = wait
    this.features = { f16: gpu.features.has('shader-f16') }
    gpu.addEventListener('uncapturederror', (event) => {
      event.preventDefault() // it would be printed as well
      this.failure ??= runtimeError((event as GPUUncapturedErrorEvent).error)
    })
    void gpu.lost.then(({ reason, message }) => {
      if (this.destroyed && reason === 'destroyed') return
      this.failure = new RuntimeError(
        `the GPU was lost: ${message || reason} (resume the run from its last checkpoint, on any device)`,
      )
    })
  }

  pipeline(code: string, label: string): GPUComputePipeline {
    const known = this.pipelines.get(code)
    if (known) return known
    const pipeline = this.gpu.createComputePipeline(this.descriptor(code, label))
    this.pipelines.set(code, pipeline)
    return pipeline
  }

  async compile(modules: readonly { readonly code: string; readonly label: string }[]): Promise<void> {
    const missing = new Map(modules.map(({ code, label }) => [code, label]))
    const compile = async ([code, label]: readonly [string, string]) => {
      if (this.pipelines.has(code)) return
      try {
        this.pipelines.set(code, await this.gpu.createComputePipelineAsync(this.descriptor(code, label)))
      } catch (error) {
        throw new RuntimeError(`internal: the GPU refused the kernel ${label}: ${messageOf(error)}`)
      }
    }
    await this.wait(Promise.all([...missing].map(compile)))
    this.check()
  }

  private descriptor(code: string, label: string): GPUComputePipelineDescriptor {
    const module = this.gpu.createShaderModule({ code, label })
    return { label, layout: 'auto', compute: { module, entryPoint: 'main' } }
  }

  check(): void {
    const { failure } = this
    if (!failure) return
    // A lost device stays lost.
    if (!failure.message.startsWith('the GPU was lost')) this.failure = undefined
    throw failure
  }

  async idle(): Promise<void> {
    await this.wait(this.gpu.queue.onSubmittedWorkDone())
    this.check()
  }

  destroy(): void {
    this.destroyed = true
    this.gpu.destroy()
  }
}

/** The error that a device reports, as one line for users. */
export const runtimeError = (error: GPUError): RuntimeError =>
  new RuntimeError(
    error.constructor.name === 'GPUOutOfMemoryError'
      ? wording`out of memory on the GPU (use a smaller train.batch, more train.microBatches or a smaller model, or ${option('runtime.device', 'cpu')})`
      : `internal: the GPU refused a command: ${error.message.trim().replace(/(?<!\s)\s*\n\s*/g, ' ')}`,
  )

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
