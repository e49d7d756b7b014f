/**
 * Compiles and binds a staged program: ONNX models become sessions, values get offsets in one memory, and the
 * steps become a script for the crew.
 */
import type { DType, Origin } from '../../../core/graph/model.ts'
import type { KernelStage, StagedModel, ValueUse } from '../../../core/graph/stages/contract.ts'
import { type Arena, hostOf, MAX_ARENA_BYTES } from '../../contract/arena.ts'
import { arraysOf, checkBuffers } from '../../contract/buffers.ts'
import { Lifetime } from '../../contract/lifetime.ts'
import {
  type Binding,
  type Buffer,
  type EarlyExchange,
  type Exchanges,
  type Executable,
  type PortMemory,
  type ProgramMemory,
  RuntimeError,
  TooManyRows,
  typedArrays,
} from '../../contract/runtime.ts'
import { OutOfMemory } from '../../contract/runtime-error.ts'
import type { NodeTime, StepEvent } from '../../contract/times.ts'
import { addressOf } from '../../native/ffi.ts'
import { type OnnxBinding, StagedBinding } from './binding.ts'
import type { KernelCall, KernelTensor } from './contract.ts'
import type { Crew } from './crew.ts'
import { opKernels } from './kernels/table.ts'
import { bytesOfValue, placeValues, type ValuePlaces, valuesBetween } from './memory.ts'
import { type Library, StepTimes } from './profile.ts'
import type { EarlyOrder, Failure, Script, Step } from './script.ts'
import { compileStages, releaseSessions, runsAlone, type SessionParts, type StageSession } from './sessions.ts'

/** Services of the runtime for its staged programs. */
export interface StagedParts extends SessionParts {
  readonly crew: Crew
  /** The library that provides the primitives. */
  readonly library: Library
  /** Whether the crew can order exchanges and wait for them. */
  readonly exchanges: boolean
  /** Memory of at least `bytes`, which all programs of the runtime use in turn. */
  memory(bytes: number): Arena
  /** Whether a larger memory has replaced this one. */
  isOutgrown(memory: Arena): boolean
  /** The error to throw for a status of ONNX Runtime. */
  explain(status: number, origins: ReadonlyMap<string, Origin>): RuntimeError
  onFreed(executable: StagedExecutable): void
}

export class StagedExecutable implements Executable {
  readonly model: StagedModel
  private readonly parts: StagedParts
  private readonly sessions: readonly (StageSession | null)[]
  /** Bytes for values, and for the scratch memory of each thread after them. */
  readonly memoryBytes: number
  private readonly places: ValuePlaces
  private readonly scratchBytes: number
  /** Bytes of scratch memory of a thread in each memory of operands that may be anywhere. */
  private readonly besideBytes: number
  private readonly bindings = new Set<StagedBinding>()
  private readonly clocks: StepTimes[] = []
  private readonly lifetime = new Lifetime('executable', () => this.free())

  private constructor(parts: StagedParts, model: StagedModel, sessions: readonly (StageSession | null)[]) {
    this.parts = parts
    this.model = model
    this.sessions = sessions
    const { places, scratch, all } = bytesOfProgram(model, parts.threads)
    this.places = places
    this.scratchBytes = scratch
    this.memoryBytes = all
    this.besideBytes = scratchOf(model, parts.threads, 'scratchBeside')
    if (this.memoryBytes > MAX_ARENA_BYTES)
      throw new OutOfMemory(
        `out of memory: the activations of a micro-batch need ${(this.memoryBytes / 2 ** 30).toFixed(2)} GiB ` +
          `(at most ${MAX_ARENA_BYTES / 2 ** 30}; use a smaller train.batch or more train.microBatches)`,
      )
  }

  static async compile(parts: StagedParts, model: StagedModel): Promise<StagedExecutable> {
    const sessions = await compileStages(parts, model.stages)
    try {
      return new StagedExecutable(parts, model, sessions)
    } catch (error) {
      releaseSessions(sessions)
      throw error
    }
  }

  bind(given: Readonly<Record<string, PortMemory>>, within?: ProgramMemory, exchanges: Exchanges = {}): Binding {
    this.lifetime.expectUsable()
    const { model, parts, places } = this
    const ports = [...model.inputs, ...model.outputs]
    checkBuffers(ports, given)
    const buffers = arraysOf(ports, given)
    if (within && within.bytes < this.memoryBytes)
      throw new RuntimeError(`internal: a program needs ${this.memoryBytes} bytes of memory, but has ${within.bytes}`)
    const arena = within?.arena ?? parts.memory(Math.max(this.memoryBytes, 1))
    const memory = hostOf(arena)
    const start = within?.start ?? 0
    const base = Number(addressOf(new Uint8Array(memory.buffer)))
    const offsetOf = (value: number): number => start + (places.offsets[value] ?? 0)

    const bound = new Map<number, Buffer>()
    model.inputs.forEach(({ name }, i) => {
      bound.set(model.valueOfInput[i] as number, buffers[name] as Buffer)
    })
    model.outputs.forEach(({ name }, i) => {
      bound.set(model.valueOfOutput[i] as number, buffers[name] as Buffer)
    })
    const array = ({ value, shape }: ValueUse): Buffer => {
      const { dtype, size } = tensorOf(model, { value, shape })
      // Values of ONNX stages are never bfloat16.
      const view: new (buffer: ArrayBufferLike, offset: number, size: number) => Buffer = typedArrays[dtype as DType]
      return bound.get(value) ?? new view(memory.buffer, offsetOf(value), size)
    }
    const beside = new Beside(given, within?.beside ?? [])
    const tensor = (use: ValueUse, isAnywhere = false): KernelTensor => {
      const port = bound.get(use.value)
      const inside = !port || port.buffer === memory.buffer
      const offset = inside ? (port?.byteOffset ?? offsetOf(use.value)) : -1
      const at = { ...tensorOf(model, use), address: port ? Number(addressOf(port)) : base + offset }
      if (inside || !isAnywhere) return { ...at, offset, memory: 0 }
      return { ...at, offset: port.byteOffset, memory: 1 + beside.indexOf(port) }
    }

    const { steps, sessions } = this.bindStages(array, tensor)
    const scratch = Array.from({ length: parts.threads }, (_, thread) => {
      const offset = start + places.bytes + thread * this.scratchBytes
      return { offset, address: base + offset }
    })
    const constants = model.values.flatMap(({ constant }, value) =>
      constant && places.offsets[value] !== null
        ? [
            {
              offset: offsetOf(value),
              bytes: new Uint8Array(constant.buffer, constant.byteOffset, constant.byteLength),
            },
          ]
        : [],
    )
    const times = new SharedArrayBuffer(parts.threads * steps.length * 16)
    const { early = [], arriving = [] } = exchanges
    const script: Script = {
      steps,
      early: early.map((exchange) => this.earlyOrder(exchange)),
      tickets: new SharedArrayBuffer(early.length * 8),
      arriving: arriving.map((names) => this.firstReader(names)),
      arrivals: new SharedArrayBuffer((1 + arriving.length) * 8),
      memory: memory.memory,
      beside: beside.places(parts.threads, this.besideBytes),
      constants,
      scratch,
      times,
    }
    const clock = parts.profile ? new StepTimes(script, parts.library) : null
    if (clock) this.clocks.push(clock)
    const binding: StagedBinding = new StagedBinding({
      crew: parts.crew,
      clock,
      script,
      sessions,
      buffers,
      exchanges,
      waits: parts.exchanges,
      isOutgrown: () => !within && parts.isOutgrown(arena),
      valuesBetween: (step) =>
        valuesBetween(model, step).map((value) => {
          const bytes = bytesOfValue(model.values[value] as StagedModel['values'][number])
          return new Uint8Array(memory.buffer, offsetOf(value), bytes)
        }),
      explain: (failure) => this.explain(failure),
      onFreed: () => {
        this.bindings.delete(binding)
        this.lifetime.end()
      },
    })
    this.bindings.add(binding)
    this.lifetime.begin()
    return binding
  }

  /** The steps of the script, and the bindings of its ONNX stages. */
  private bindStages(array: (use: ValueUse) => Buffer, tensor: TensorOf) {
    const sessions: OnnxBinding[] = []
    const steps = this.model.stages.map((stage, at): Step => {
      if (stage.kind === 'kernel') return { kind: 'kernel', call: callOf(stage, tensor) }
      const ports: Record<string, Buffer> = {}
      stage.model.inputs.forEach(({ name }, i) => {
        ports[name] = array(stage.inputs[i] as ValueUse)
      })
      stage.model.outputs.forEach(({ name }, i) => {
        ports[name] = array(stage.outputs[i] as ValueUse)
      })
      const binding = (this.sessions[at] as StageSession).session.bind(ports)
      sessions.push(binding)
      const args = binding.arguments.map((value) => Number(value ?? 0))
      return { kind: 'onnx', args, alone: runsAlone(stage) }
    })
    return { steps, sessions }
  }

  /** The order of an early exchange, which is due when the last stage that computes one of its outputs has ended. */
  private earlyOrder({ after, channel, transfers }: EarlyExchange): EarlyOrder {
    const { outputs, valueOfOutput, stages } = this.model
    const values = new Set(after.map((name) => valueOfOutput[outputs.findIndex((port) => port.name === name)]))
    return {
      before: 1 + stages.findLastIndex((stage) => stage.outputs.some(({ value }) => values.has(value))),
      channel,
      transfers: transfers.map(({ peer, direction, array }) => {
        return { peer, direction, address: Number(addressOf(array)), bytes: array.byteLength }
      }),
    }
  }

  /** The first stage that reads one of the inputs. */
  private firstReader(names: readonly string[]): number {
    const { inputs, valueOfInput, stages } = this.model
    const values = new Set(names.map((name) => valueOfInput[inputs.findIndex((port) => port.name === name)]))
    return stages.findIndex((stage) => stage.inputs.some(({ value }) => values.has(value)))
  }

  private explain(failure: Failure): RuntimeError {
    if (failure.kind === 'status') {
      const { origins } = this.sessions[failure.step] as StageSession
      return this.parts.explain(failure.status, origins)
    }
    const stage = this.model.stages[failure.step]
    const { op, layer } = stage?.kind === 'kernel' ? stage.origin : { op: '', layer: '' }
    if (failure.kind === 'rows') return new TooManyRows(failure.rows, failure.room, layer)
    const at = layer === '' ? op : `${op} of ${layer}`
    return new RuntimeError(`failed to run${at && ` in ${at}`}: ${failure.message}`)
  }

  profile(): readonly NodeTime[] {
    if (!this.parts.profile)
      throw new RuntimeError('no profile was recorded: create the runtime with { profile: true }')
    const nodes = (stage: number) => this.sessions[stage]?.session.allNodes() ?? []
    return this.clocks.flatMap((clock) => clock.nodeTimes(this.model.stages, nodes))
  }

  resetProfile(): void {
    for (const clock of this.clocks) clock.reset()
  }

  lastRun(): readonly StepEvent[] {
    const nodes = (stage: number, runs: number) => this.sessions[stage]?.session.lastNodes(runs) ?? []
    return this.clocks.at(-1)?.events(this.model.stages, nodes) ?? []
  }

  release(): void {
    for (const binding of this.bindings) binding.release()
    this.lifetime.release()
  }

  private free(): void {
    releaseSessions(this.sessions)
    this.parts.onFreed(this)
  }
}

/** The places of a program's values, bytes of the scratch memory of each of its threads, and of all together. */
export function bytesOfProgram(model: StagedModel, threads: number) {
  const [places, scratch] = [placeValues(model), scratchOf(model, threads, 'scratch')]
  return { places, scratch, all: places.bytes + threads * scratch }
}

/** Bytes of scratch memory of a thread, which all stages use in turn. */
function scratchOf(model: StagedModel, threads: number, kind: 'scratch' | 'scratchBeside'): number {
  const tensor = (use: ValueUse): KernelTensor => ({ ...tensorOf(model, use), address: 0, offset: 0, memory: 0 })
  const sizes = model.stages.map((stage) =>
    stage.kind === 'onnx' ? 0 : (opKernels[stage.type]?.[kind]?.(callOf(stage, tensor), threads) ?? 0),
  )
  return Math.ceil(Math.max(0, ...sizes) / 4096) * 4096
}

function tensorOf({ values }: StagedModel, { value, shape }: ValueUse) {
  const { dtype } = values[value] as StagedModel['values'][number]
  return { dtype, shape, size: shape.reduce((product, d) => product * d, 1) }
}

/** The tensor of a use of a value, and whether the kernel reads it in any memory. */
type TensorOf = (use: ValueUse, isAnywhere?: boolean) => KernelTensor

/** The memories of operands that may be anywhere, in the order in which they are found. */
class Beside {
  private readonly found: Arena[] = []
  private readonly given: readonly Arena[]
  private readonly rooms: readonly Omit<ProgramMemory, 'beside'>[]

  constructor(ports: Readonly<Record<string, PortMemory>>, rooms: readonly Omit<ProgramMemory, 'beside'>[]) {
    this.given = Object.values(ports).flatMap((port) => ('arena' in port && port.arena.host ? [port.arena] : []))
    this.rooms = rooms
  }

  /** Index of the memory of an array. */
  indexOf({ buffer }: Buffer): number {
    const known = this.found.findIndex(({ host }) => host?.buffer === buffer)
    if (known !== -1) return known
    const arena = this.given.find(({ host }) => host?.buffer === buffer)
    if (!arena) throw new RuntimeError('internal: an operand of a kernel is in no arena')
    return this.found.push(arena) - 1
  }

  /** The memories with scratch memory of `bytes` for each thread, where there is room for it. */
  places(threads: number, bytes: number): Script['beside'] {
    return this.found.map((arena) => {
      const room = this.rooms.find((each) => each.arena === arena)
      if (room && room.bytes < threads * bytes)
        throw new RuntimeError(`internal: kernels need ${threads * bytes} bytes beside, and there are ${room.bytes}`)
      const scratch = room ? Array.from({ length: threads }, (_, thread) => room.start + thread * bytes) : null
      return { memory: hostOf(arena).memory, scratch }
    })
  }
}

/** The operands of a stage by the names of its kernel. */
function callOf({ type, attributes, names, inputs, outputs, added }: KernelStage, tensor: TensorOf): KernelCall {
  const anywhere = opKernels[type]?.anywhere ?? []
  const byName = (of: readonly string[], uses: readonly ValueUse[]) =>
    Object.fromEntries(of.map((name, i) => [name, tensor(uses[i] as ValueUse, anywhere.includes(name))]))
  const addedTo = added.map((output) => names.outputs[output] as string)
  return {
    kernel: type,
    attributes,
    inputs: byName(names.inputs, inputs),
    outputs: byName(names.outputs, outputs),
    addends: byName(addedTo, inputs.slice(names.inputs.length)),
  }
}
