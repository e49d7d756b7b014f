/**
 * The CPU runtime, assembled from its parts: sessions of ONNX Runtime, and staged programs whose kernels the
 * crew runs. It keeps track of its executables until it is closed.
 */
import { UsageError } from '../../core/errors.ts'
import type { Model } from '../../core/graph/model.ts'
import { expectFields } from '../../core/graph/options.ts'
import type { Program } from '../../core/graph/program.ts'
import type { StagedModel } from '../../core/graph/stages/contract.ts'
import { cut, modelOf } from '../../core/graph/stages/cut.ts'
import type { KernelSet } from '../../core/graph/tensor.ts'
import { type Arena, MAX_ARENA_BYTES } from '../contract/arena.ts'
import type { ArenaKernels } from '../contract/arena-kernels.ts'
import { createOrderLog, OrderLog } from '../contract/order-log.ts'
import {
  type CompileOptions,
  type Executable,
  type GroupPlace,
  type Precision,
  type Runtime,
  RuntimeError,
  type RuntimeOptions,
} from '../contract/runtime.ts'
import { physicalCores } from '../native/cores.ts'
import { createArena, machineBytes } from '../native/cpu-arena.ts'
import { compileSession } from './onnxruntime/compile.ts'
import { acquireEnvironment, type Environment, releaseEnvironment } from './onnxruntime/environment.ts'
import { takeFailure, toRuntimeError } from './onnxruntime/errors.ts'
import type { Session } from './onnxruntime/session.ts'
import { type DnnlLibrary, findDnnl } from './primitives/onednn/library.ts'
import { Crew } from './staged/crew.ts'
import { bytesOfProgram, StagedExecutable } from './staged/executable.ts'
import { opKernels } from './staged/kernels/table.ts'
import { createArenaKernels } from './wasm/arena-kernels.ts'

/**
 * The native runtime.
 * @throws UsageError for an invalid option; RuntimeError if the library is missing or unusable.
 */
export async function createRuntime(options: RuntimeOptions = {}): Promise<Runtime> {
  const { threads = physicalCores(), device = 'cpu', profile = false, math = 'float32', group = null } = options
  if (!Number.isInteger(threads) || threads < 1)
    throw new UsageError(`invalid threads: ${threads} (expected a whole number of at least 1)`)
  if (device !== 'cpu') throw new UsageError(`invalid device: ${device} (expected cpu)`)
  if (math === 'f16') throw new UsageError('invalid math: f16 (expected float32 or bf16 on the CPU)')
  const dnnl = findDnnl()

  const noBf16 = 'path' in dnnl ? (dnnl.bf16 ? null : 'this CPU does not multiply bfloat16') : dnnl.missing
  return new CpuRuntime(acquireEnvironment(), {
    threads,
    profile,
    group,
    dnnl: 'path' in dnnl ? dnnl : null,
    provider: 'path' in dnnl ? `oneDNN ${dnnl.version}` : `ONNX Runtime alone (${dnnl.missing})`,
    math: noBf16 === null ? math : 'float32',
    ...(math === 'bf16' && noBf16 !== null && { notice: `matrix products are float32: no bf16, since ${noBf16}` }),
  })
}

interface Setting {
  readonly threads: number
  readonly profile: boolean
  readonly group: GroupPlace | null
  readonly dnnl: DnnlLibrary | null
  readonly provider: string
  readonly math: Precision
  readonly notice?: string
}

/** Whether kernels exchange bfloat16. With AMX they need not, because oneDNN rounds float32 as it reads it. */
const storesHalves = ({ math, dnnl }: Setting): boolean => math === 'bf16' && !dnnl?.amx

function kernelNames(setting: Setting): string[] {
  const local = Object.entries(opKernels).filter(([, { provider }]) => provider !== 'MPI' || setting.group !== null)
  return local.map(([name]) => name).filter((name) => name !== 'round' || storesHalves(setting))
}

const halves = (kernel: string) => opKernels[kernel]?.halves

class CpuRuntime implements Runtime {
  readonly name = 'onnxruntime'
  readonly device = 'cpu'
  readonly maxArenaBytes = MAX_ARENA_BYTES
  readonly memoryBytes = machineBytes()
  readonly defers = false
  readonly version: string
  readonly threads: number
  readonly kernels: KernelSet
  readonly math: Precision
  readonly provider: string
  readonly notice?: string
  readonly orderLog: OrderLog | null
  private readonly orderMemory: SharedArrayBuffer | null
  private readonly environment: Environment
  private readonly setting: Setting
  private readonly halves: boolean
  private readonly executables = new Set<Executable>()
  private readonly compiling = new Set<Promise<unknown>>()
  private crew: Promise<Crew> | undefined
  private memory: Arena | undefined
  private closing: Promise<void> | undefined
  private whenEmpty: (() => void) | undefined

  constructor(environment: Environment, setting: Setting) {
    this.version = environment.api.version
    this.threads = setting.threads
    this.math = setting.math
    this.halves = storesHalves(setting)
    // Rows of an expert are padded to a multiple of the tile, so that code is compiled for fewer shapes. Tiles of AMX
    // are 16 by 32, and rows are sometimes the one and sometimes the other side in the products of an expert.
    this.kernels = {
      names: new Set(kernelNames(setting)),
      tile: setting.math === 'bf16' && setting.dnnl?.amx ? 32 : 8,
      threads: setting.threads,
      parts: 16,
    }
    this.provider = setting.provider
    if (setting.notice !== undefined) this.notice = setting.notice
    const ranks = setting.group?.size ?? 0
    this.orderMemory = setting.group && createOrderLog(ranks)
    this.orderLog = this.orderMemory && new OrderLog(this.orderMemory, ranks)
    this.environment = environment
    this.setting = setting
    // Most programs need the crew. Its threads start while this thread goes on, for example with reading data.
    this.startCrew().catch(() => {})
  }

  createArena(bytes: number): Arena {
    return createArena(bytes)
  }

  createArenaKernels(): Promise<ArenaKernels> {
    return createArenaKernels(this.threads)
  }

  async synchronize(): Promise<void> {}

  async compile(program: Program, options: CompileOptions = {}): Promise<Executable> {
    expectFields('options of compile', options, ['portsInside'])
    const { portsInside = false } = options
    if (this.closing) throw new RuntimeError('internal: this runtime has been closed')
    const model = portsInside ? cut(program, { portsInside }) : this.modelOf(program)
    const compiling = 'stages' in model ? this.compileStaged(model) : this.compileSession(model)
    this.compiling.add(compiling)
    try {
      const executable = await compiling
      this.executables.add(executable)
      return executable
    } finally {
      this.compiling.delete(compiling)
    }
  }

  bytesOf(program: Program): number | undefined {
    const model = this.modelOf(program)
    return 'stages' in model ? bytesOfProgram(model, this.threads).all : undefined
  }

  private modelOf(program: Program): Model | StagedModel {
    return modelOf(program, this.halves ? { halves } : {})
  }

  private startCrew(): Promise<Crew> {
    this.crew ??= Crew.start({
      threads: this.threads,
      ortRun: Number(this.environment.api.runAddress),
      dnnl: this.setting.dnnl?.path ?? null,
      math: this.math,
      group: this.setting.group,
      orderLog: this.orderMemory,
    })
    return this.crew
  }

  private async compileStaged(model: StagedModel): Promise<Executable> {
    const { api } = this.environment
    return StagedExecutable.compile(
      {
        crew: await this.startCrew(),
        library: this.setting.dnnl ? 'oneDNN' : 'ONNX Runtime',
        threads: this.threads,
        profile: this.setting.profile,
        exchanges: this.setting.group !== null,
        compile: (onnx, threads) => this.compileSession(onnx, threads),
        memory: (bytes) => this.memoryFor(bytes),
        isOutgrown: (memory) => memory !== this.memory,
        explain: (status, origins) => {
          const failure = takeFailure(api, BigInt(status))
          return failure
            ? toRuntimeError(failure, origins, 'run')
            : new RuntimeError('internal: a failure without a status')
        },
        onFreed: (executable) => this.forget(executable),
      },
      model,
    )
  }

  /** The arena of all programs, which run in turn. It is replaced by a larger arena if a program needs more. */
  private memoryFor(bytes: number): Arena {
    if (!this.memory || this.memory.byteLength < bytes) this.memory = createArena(bytes)
    return this.memory
  }

  private forget(executable: Executable): void {
    this.executables.delete(executable)
    if (this.executables.size === 0) this.whenEmpty?.()
  }

  private compileSession(model: Model, threads = this.threads): Promise<Session> {
    const { profile } = this.setting
    return compileSession(this.environment, model, { threads, profile, onFreed: (session) => this.forget(session) })
  }

  close(): Promise<void> {
    this.closing ??= this.release()
    return this.closing
  }

  private async release(): Promise<void> {
    await Promise.allSettled(this.compiling)
    const empty = new Promise<void>((resolve) => {
      this.whenEmpty = resolve
    })
    for (const executable of [...this.executables]) executable.release()
    if (this.executables.size === 0) this.whenEmpty?.()
    await empty
    await (await this.crew)?.end()
    this.memory = undefined
    releaseEnvironment()
  }
}
