/** Arena kernels on a device: optimizers, the gate of an update, additions of rows. Each call records its dispatches. */
import type { Shape } from '../../core/graph/model.ts'
import { sizeOf } from '../../core/graph/shape.ts'
import { type Arena, type ArenaRange, RANGE_START } from '../contract/arena.ts'
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
import { BUFFER_USAGE, DeviceArena } from './arena.ts'
import { type BoundDispatch, bindDispatch, recordAll } from './bound.ts'
import { type Dispatch, type MemoryType, type Operand, operandOf } from './contract.ts'
import type { Device } from './device.ts'
import { adafactorDispatches } from './kernels/optimizer/adafactor.ts'
import { adamwDispatch } from './kernels/optimizer/adamw.ts'
import { addDispatch, scatterAddRowsDispatches } from './kernels/optimizer/additions.ts'
import { balanceDispatch } from './kernels/optimizer/balance.ts'
import { gateDispatch, squaresDispatches, squaresSize } from './kernels/optimizer/squares.ts'
import type { Profiler } from './profile.ts'
import { padded, type WorkQueue } from './queue.ts'
import { Settings } from './settings.ts'
import { ALIGNMENT, type Slice } from './slice.ts'

/** Makes an operand of memory that exists. By default it has floats, as many as fit into the slice. */
type Placing = (slice: Slice, shape?: Shape, dtype?: MemoryType) => Operand
type Lower = (at: Placing) => readonly Dispatch[]

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
  private readonly gates = new Map<string, { buffer: GPUBuffer; sums: Slice; gate: Slice }>()

  constructor(parts: KernelParts) {
    this.parts = parts
    this.settings = new Settings(parts.device.gpu, parts.queue)
  }

  async gate(ranges: readonly ArenaRange[], { clip, closed = false, total, finite = [] }: GateOptions): Promise<Gate> {
    if (total) throw new RuntimeError('internal: ranks share no gradients on a GPU')
    const slices = merged(ranges).flatMap(({ arena, start, count }) =>
      this.pieces(count).map((piece) => slice(arena, start + piece.first, piece.count)),
    )
    const numbers = finite.map((array) => ({ slice: this.outputOf(array), shape: [array.length] }))
    const key = slices.map(keyOf).join(' ')
    const size = squaresSize(slices.map(({ bytes }) => bytes / 4))
    const { sums, gate } = this.gates.get(key) ?? this.openGate(key, size)
    const all = [...slices, ...numbers.map(({ slice }) => slice)]
    const lower = (at: Placing) => {
      const ofSums = at(sums, [size])
      const operands = { sums: ofSums, gate: at(gate), finite: numbers.map(({ slice, shape }) => at(slice, shape)) }
      const ofRanges = slices.map((slice) => at(slice))
      return [...squaresDispatches(ofRanges, ofSums), gateDispatch(operands, { clip, closed })]
    }
    this.run('sumOfSquares', all, lower, `${clip} ${closed}`)
    const result = new DeviceGate(gate)
    this.parts.queue.readBack([{ ...gate, bytes: 16 }], (bytes) => result.fill(new Float32Array(bytes, 0, 3)))
    return result
  }

  private openGate(key: string, sums: number) {
    const bytes = padded(Math.max(1, sums) * 4)
    const buffer = this.parts.device.gpu.createBuffer({ size: bytes + ALIGNMENT, usage: BUFFER_USAGE })
    const opened = { buffer, sums: { buffer, offset: 0, bytes }, gate: { buffer, offset: bytes, bytes: 16 } }
    this.gates.set(key, opened)
    return opened
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
  private run(kind: string, slices: readonly Slice[], lower: Lower, rule = ''): void {
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
  private bind(lower: Lower): BoundDispatch[] {
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
    for (const { buffer } of this.gates.values()) buffer.destroy()
    this.gates.clear()
    this.bound.clear()
  }
}

/** The decision about an update, on the device; its fields are valid after it has been read back. */
class DeviceGate implements Gate {
  readonly slice: Slice
  norm = Number.NaN
  scale = Number.NaN
  isOpen = false

  constructor(slice: Slice) {
    this.slice = slice
  }

  fill([norm = 0, scale = 0, open = 0]: Float32Array): void {
    this.norm = norm
    this.scale = scale
    this.isOpen = open === 1
  }
}

function sliceOfGate(gate: Gate): Slice {
  if (!(gate instanceof DeviceGate)) throw new RuntimeError('internal: a gate of another runtime')
  return gate.slice
}

function slice(arena: Arena, start: number, count: number): Slice {
  if (!(arena instanceof DeviceArena)) throw new RuntimeError('internal: memory of another runtime')
  if ((start * 4) % ALIGNMENT !== 0)
    throw new RuntimeError(`internal: a range begins at float ${start} (expected a multiple of ${RANGE_START})`)
  return { buffer: arena.buffer, offset: start * 4, bytes: count * 4 }
}

const buffers = new WeakMap<GPUBuffer, number>()
let bufferCount = 0

const keyOf = ({ buffer, offset, bytes }: Slice): string => {
  const id = buffers.get(buffer) ?? bufferCount++
  buffers.set(buffer, id)
  return `${id}:${offset}+${bytes}`
}

/** Merges ranges: ranges that follow each other, with padding between them, become one. */
function merged(ranges: readonly ArenaRange[]): ArenaRange[] {
  const arenas = [...new Set(ranges.map(({ arena }) => arena))]
  const sorted = ranges.toSorted((a, b) => arenas.indexOf(a.arena) - arenas.indexOf(b.arena) || a.start - b.start)
  const all: { arena: Arena; start: number; count: number }[] = []
  for (const { arena, start, count } of sorted) {
    const last = all.at(-1)
    const gap = last && last.arena === arena ? start - last.start - last.count : Number.POSITIVE_INFINITY
    // A tensor that was left out would leave a longer gap.
    if (last && gap >= 0 && gap < RANGE_START) last.count = start + count - last.start
    else all.push({ arena, start, count })
  }
  return all.map((range) => ({ ...range, count: Math.ceil(range.count / RANGE_START) * RANGE_START }))
}
