/** Arena kernels on a device: optimizers, the gate of an update, additions of rows. Each call records its dispatches. */
import { sizeOf } from '../../core/graph/shape.ts'
import { type ArenaRange, RANGE_START } from '../contract/arena.ts'
import {
  type AdafactorRange,
  type AdafactorSettings,
  type AdamwRange,
  type AdamwSettings,
  type Addition,
  type ArenaKernels,
  adafactorStateSize,
  type Gate,
  type GateOptions,
  type LoadBias,
  type RowScatter,
} from '../contract/arena-kernels.ts'
import type { CompactState } from '../contract/moments.ts'
import { RuntimeError } from '../contract/runtime-error.ts'
import type { NodeTime } from '../contract/times.ts'
import { keyOf, type Placing, rangeSlice as slice } from './arena-slices.ts'
import { type BoundDispatch, bindDispatch, recordAll } from './bound.ts'
import type { Device } from './device.ts'
import { Gates, sliceOfGate } from './gate.ts'
import { type Dispatch, type Operand, operandOf } from './kernels/contract.ts'
import { adafactorDispatches } from './kernels/optimizer/adafactor.ts'
import { adamwDispatch } from './kernels/optimizer/adamw.ts'
import { addDispatch, scatterAddRowsDispatches } from './kernels/optimizer/additions.ts'
import { balanceDispatch } from './kernels/optimizer/balance.ts'
import type { Profiler } from './profile.ts'
import { ALIGNMENT, type Slice } from './program/slice.ts'
import { padded, type WorkQueue } from './queue.ts'
import { Settings } from './settings.ts'

/** Services of the runtime for its arena kernels. */
export interface KernelParts {
  readonly device: Device
  readonly queue: WorkQueue
  readonly profiler: Profiler | null
  /** Scratch memory that the next program may use too. */
  memory(bytes: number): GPUBuffer
  /** The device memory of each array that a bound program writes. */
  readonly outputs: WeakMap<object, Slice>
}

export class DeviceArenaKernels implements ArenaKernels {
  readonly threads = 1
  private readonly parts: KernelParts
  private readonly settings: Settings
  /** Bound dispatches by kernel and memory, since the ranges of a training stay the same. */
  private readonly bound = new Map<string, readonly BoundDispatch[]>()
  private readonly programs = new Map<string, { kind: string; key: object }>()
  private readonly gates: Gates

  constructor(parts: KernelParts) {
    this.parts = parts
    const { device, queue } = parts
    this.settings = new Settings(device.gpu, queue)
    this.gates = new Gates({
      device,
      queue,
      run: (...call) => this.run(...call),
      outputOf: (array) => this.outputOf(array),
    })
  }

  gate(ranges: readonly ArenaRange[], options: GateOptions): Promise<Gate> {
    return this.gates.open(ranges, options)
  }

  async adamw(ranges: readonly AdamwRange[], settings: AdamwSettings, gate: Gate): Promise<void> {
    const { first, second, beta1, beta2, size, correction, epsilon } = settings
    const decision = sliceOfGate(gate)
    for (const { arena, p, g, m, v, count, keep, factor = 1 } of ranges)
      for (const piece of this.pieces(count)) {
        const part = (start: number) => slice(arena, start + piece.first, piece.count)
        const all = { p: part(p), g: part(g), m: part(m), v: part(v) }
        const numbers = [first, second, beta1, beta2, factor * size, correction, epsilon, keep]
        const values = this.settings.write(keyOf(all.p), numbers)
        this.run('adamw', [...Object.values(all), values, decision], (at) => [
          adamwDispatch({
            p: at(all.p),
            g: at(all.g),
            m: at(all.m),
            v: at(all.v),
            settings: at(values),
            gate: at(decision),
          }),
        ])
      }
  }

  async adamwCompact(state: CompactState): Promise<void> {
    throw new Error(`internal: a device keeps moments in float32, not in ${state}`)
  }

  async adafactor(ranges: readonly AdafactorRange[], { beta, rate }: AdafactorSettings, gate: Gate): Promise<void> {
    const decision = sliceOfGate(gate)
    for (const { arena, p, g, state, count, rows, columns, keep, factor = 1 } of ranges) {
      const shape = rows === null ? [count, columns] : [count, rows, columns]
      const size = sizeOf(shape)
      if (size === 0) continue
      const [ofP, ofG] = [slice(arena, p, size), slice(arena, g, size)]
      const ofState = slice(arena, state, count * adafactorStateSize(rows, columns))
      const values = this.settings.write(keyOf(ofP), [beta, factor * rate, keep])
      this.run('adafactor', [ofP, ofG, ofState, values, decision], (at) =>
        adafactorDispatches({
          p: at(ofP, shape),
          g: at(ofG, shape),
          state: at(ofState),
          settings: at(values),
          gate: at(decision),
        }),
      )
    }
  }

  async balance(biases: readonly LoadBias[], rate: number, gate: Gate): Promise<void> {
    const decision = sliceOfGate(gate)
    for (const { arena, start, count, known, enqueued } of biases) {
      const bias = slice(arena, start, count)
      const values = this.settings.write(`balance ${keyOf(bias)}`, [rate, ...Array.from(known)])
      const more = enqueued && this.outputOf(enqueued)
      this.run('balance', [bias, values, decision, ...(more ? [more] : [])], (at) => [
        balanceDispatch({
          bias: at(bias),
          settings: at(values),
          gate: at(decision),
          more: more ? at(more) : undefined,
        }),
      ])
    }
  }

  private outputOf(array: Float32Array): Slice {
    const slice = this.parts.outputs.get(array)
    if (!slice) throw new RuntimeError('internal: no program on this device writes this array')
    return slice
  }

  async add(additions: readonly Addition[]): Promise<void> {
    for (const { arena, to, from, count } of additions) {
      const [sum, addend] = [slice(arena, to, count), slice(arena, from, count)]
      this.run('add', [sum, addend], (at) => [addDispatch({ to: at(sum), from: at(addend) })])
    }
  }

  async scatterAddRows({ arena, table, tableRows, rows, indices, rowCount, width }: RowScatter): Promise<void> {
    const ofTable = slice(arena, table, tableRows * width)
    const ofRows = slice(arena, rows, rowCount * width)
    const ofIndices = slice(arena, indices, rowCount)
    this.run('scatterAddRows', [ofTable, ofRows, ofIndices], (at) =>
      scatterAddRowsDispatches({
        table: at(ofTable, [tableRows, width]),
        rows: at(ofRows, [rowCount, width]),
        indices: at(ofIndices, [rowCount], 'int32'),
      }),
    )
  }

  /** Parts of a range of `count` floats, each small enough for the device to bind. */
  private pieces(count: number): { readonly first: number; readonly count: number }[] {
    const most = Math.floor(this.parts.device.gpu.limits.maxStorageBufferBindingSize / ALIGNMENT) * RANGE_START
    return Array.from({ length: Math.ceil(count / most) }, (_, i) => ({
      first: i * most,
      count: Math.min(most, count - i * most),
    }))
  }

  /**
   * Records the dispatches of a call, which are lowered and bound when the call is first made with this memory and
   * rule.
   */
  private run(kind: string, slices: readonly Slice[], lower: (at: Placing) => readonly Dispatch[], rule = ''): void {
    const { queue, profiler } = this.parts
    const name = `${kind} ${slices.map(keyOf).join(' ')} ${rule}`
    const bound = this.bound.get(name) ?? this.bind(lower)
    this.bound.set(name, bound)
    if (!profiler) {
      if (bound.length > 0) recordAll(queue, bound)
      return
    }
    const program = this.programs.get(name) ?? { kind, key: {} }
    this.programs.set(name, program)
    const steps = bound.map(({ dispatch }) => ({ dispatch, origin: { op: kind, layer: 'optimizer' } }))
    profiler.run(program.key, steps, bound)
  }

  /** Binds dispatches with their scratch memory, which the next program may use again. */
  private bind(lower: (at: Placing) => readonly Dispatch[]): BoundDispatch[] {
    const slices = new Map<Operand, Slice>()
    const dispatches = lower((slice, shape = [slice.bytes / 4], dtype = 'float32') => {
      const operand = operandOf(dtype, shape)
      slices.set(operand, slice)
      return operand
    })
    const used = new Set(dispatches.flatMap(({ operands }) => operands.map(({ of }) => of)))
    const scratch = [...used].filter((operand) => !slices.has(operand))
    const bytesOf = ({ size }: Operand) => Math.max(4, 4 * size)
    const total = scratch.reduce((sum, operand) => sum + padded(bytesOf(operand)), 0)
    const memory = total > 0 ? this.parts.memory(total) : null
    let offset = 0
    for (const operand of scratch) {
      const bytes = bytesOf(operand)
      slices.set(operand, { buffer: memory as GPUBuffer, offset, bytes })
      offset += padded(bytes)
    }
    const sliceOf = (operand: Operand) => slices.get(operand) as Slice
    return dispatches.map((dispatch) =>
      bindDispatch(this.parts.device, dispatch, {
        slices: dispatch.operands.map(({ of }) => sliceOf(of)),
        indirect: 'indirect' in dispatch.workgroups ? sliceOf(dispatch.workgroups.indirect) : null,
      }),
    )
  }

  profile(): readonly NodeTime[] {
    const { profiler } = this.parts
    const byKind = new Map<string, NodeTime>()
    for (const { kind, key } of this.programs.values()) {
      const times = profiler?.times(key) ?? []
      const before = byKind.get(kind) ?? { kind, provider: 'WebGPU', op: 'kernel', layer: '', runs: 0, microseconds: 0 }
      const runs = Math.max(before.runs, ...times.map((time) => time.runs))
      const microseconds = times.reduce((sum, time) => sum + time.microseconds, before.microseconds)
      byKind.set(kind, { ...before, runs, microseconds })
    }
    return [...byKind.values()]
  }

  async close(): Promise<void> {
    this.settings.destroy()
    this.gates.destroy()
    this.bound.clear()
  }
}
