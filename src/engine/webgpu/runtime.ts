/** The WebGPU runtime: compiles programs to dispatches of a device, and keeps arenas in its memory. */
import { UsageError } from '../../core/errors.ts'
import type { Program } from '../../core/graph/program.ts'
import type { KernelSet } from '../../core/graph/tensor.ts'
import type { Arena } from '../contract/arena.ts'
import type { ArenaKernels } from '../contract/arena-kernels.ts'
import { createOrderLog, OrderLog } from '../contract/order-log.ts'
import type { CompileOptions, Executable, Precision, Runtime } from '../contract/runtime.ts'
import { RuntimeError } from '../contract/runtime-error.ts'
import { BUFFER_USAGE, DeviceArena } from './arena.ts'
import { DeviceArenaKernels } from './arena-kernels.ts'
import type { Device } from './device.ts'
import { DeviceExecutable } from './executable.ts'
import type { DeviceGroup } from './kernels/contract.ts'
import { graphKernels, nodeKernels } from './kernels/table.ts'
import { Profiler } from './profile.ts'
import { lowerProgram } from './program/lower-program.ts'
import type { Slice } from './program/slice.ts'
import { padded, WorkQueue } from './queue.ts'

export interface DeviceOptions {
  /** Whether the time of every dispatch is recorded. */
  readonly profile?: boolean
  /** Requested precision of matrix products; there is no bf16, and a notice says so. */
  readonly math?: Precision
  /** The ranks that share the experts; default: this process has all experts. */
  readonly group?: DeviceGroup | undefined
  /** A faster choice than a software device, for its notice: default "a GPU", since a page has no other choice. */
  readonly faster?: string
}

/** Number of workgroups that share a sum over tokens: enough for large GPUs. */
const PARTS = 512

/** @throws UsageError for `math: f16` on a device without it */
export function createDeviceRuntime(device: Device, options: DeviceOptions = {}): Runtime {
  if (options.math === 'f16' && !device.features.f16) {
    const { name } = device.adapter
    device.destroy()
    throw new UsageError(
      `invalid runtime.math: "f16" on ${name}, which has no f16 (expected "float32", or a GPU with the WebGPU feature ` +
        'shader-f16: see choir devices)',
    )
  }
  return new WebGpuRuntime(device, options)
}

class WebGpuRuntime implements Runtime {
  readonly name = 'webgpu'
  readonly device = 'webgpu'
  readonly version = '1.0'
  readonly threads = 1
  readonly math: 'float32' | 'f16'
  readonly defers = true
  // No kernel adds the gradients of several ranks, however many threads there are.
  readonly kernels: KernelSet = {
    names: new Set(Object.keys(graphKernels)),
    tile: 1,
    threads: Number.POSITIVE_INFINITY,
    parts: PARTS,
  }
  readonly provider: string
  readonly maxArenaBytes: number
  readonly notice?: string
  readonly orderLog: OrderLog | null
  private readonly gpu: Device
  private readonly queue: WorkQueue
  private readonly profiler: Profiler | null
  private readonly group: DeviceGroup | null
  private readonly outputs = new WeakMap<object, Slice>()
  private readonly executables = new Set<Executable>()
  private memory: GPUBuffer | undefined
  private readonly compiling = new Set<Promise<unknown>>()
  private closing: Promise<void> | undefined

  constructor(device: Device, { profile = false, math = 'float32', group, faster = 'a GPU' }: DeviceOptions) {
    this.gpu = device
    this.group = group ?? null
    this.orderLog = group ? new OrderLog(createOrderLog(group.size), group.size) : null
    this.math = math === 'f16' ? 'f16' : 'float32'
    this.queue = new WorkQueue(device)
    const { adapter, gpu } = device
    this.provider = `WebGPU on ${adapter.name}${adapter.description && ` (${adapter.description})`}`
    // Floats of an arena are counted in 32 bits.
    this.maxArenaBytes = Math.min(gpu.limits.maxBufferSize, 2 ** 32 - 256)
    const timed = gpu.features.has('timestamp-query')
    this.profiler = profile && timed ? new Profiler(gpu, this.queue) : null
    const notices = [
      ...(adapter.software ? [`${adapter.name} computes on the processor, slower than ${faster}`] : []),
      ...(math === 'bf16' ? ['matrix products are float32: bf16 is for the CPU'] : []),
      ...(profile && !timed ? ['this GPU has no timestamps, so there is no profile'] : []),
    ]
    if (notices.length > 0) this.notice = notices.join('; ')
  }

  async compile(program: Program, { portsInside = false }: CompileOptions = {}): Promise<Executable> {
    if (this.closing) throw new RuntimeError('internal: this runtime has been closed')
    if (portsInside) throw new RuntimeError('internal: a GPU has no ports inside the memory of a program')
    // Compiling may take minutes, so memory that could not be allocated is reported before.
    this.gpu.check()
    const plan = lowerProgram(program, nodeKernels, this.math)
    const compiling = DeviceExecutable.compile(
      {
        device: this.gpu,
        queue: this.queue,
        profiler: this.profiler,
        memory: (bytes) => this.memoryFor(bytes),
        group: this.group,
        orderLog: this.orderLog,
        outputs: this.outputs,
        onFreed: (freed) => this.executables.delete(freed),
      },
      plan,
    )
    this.compiling.add(compiling)
    try {
      const executable = await compiling
      this.executables.add(executable)
      return executable
    } finally {
      this.compiling.delete(compiling)
    }
  }

  /** One buffer for all programs, which run in turn; programs that were bound before keep the smaller buffer. */
  private memoryFor(bytes: number): GPUBuffer {
    if (!this.memory || this.memory.size < bytes)
      this.memory = this.gpu.gpu.createBuffer({ size: padded(bytes), usage: BUFFER_USAGE })
    return this.memory
  }

  synchronize(): Promise<void> {
    return this.queue.synchronize()
  }

  createArena(bytes: number): Arena {
    return new DeviceArena(this.gpu, this.queue, bytes, this.maxArenaBytes)
  }

  async createArenaKernels(): Promise<ArenaKernels> {
    const { gpu: device, queue, profiler, outputs } = this
    return new DeviceArenaKernels({ device, queue, profiler, outputs, memory: (bytes) => this.memoryFor(bytes) })
  }

  close(): Promise<void> {
    this.closing ??= this.release()
    return this.closing
  }

  private async release(): Promise<void> {
    await Promise.allSettled(this.compiling)
    // Runs that have been enqueued end; callers that wait for them get their errors.
    await this.queue.synchronize().catch(() => undefined)
    for (const executable of [...this.executables]) executable.release()
    this.queue.release()
    this.gpu.destroy()
  }
}
