/** Arena kernels on a device: optimizers, the gate of an update, additions of rows. Each call records its dispatches. */
import type { DType } from '../../core/graph/model.ts'
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
import type { Dispatch, Lowered, MemoryType, Place } from './contract.ts'
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

/** Services of the runtime. */
export interface KernelParts {
  readonly device: Device
  readonly queue: WorkQueue
  readonly profiler: Profiler | null
  /** Scratch memory that the next program may use too. */
  memory(bytes: number): GPUBuffer
  /** Where the device has what a bound program writes to arrays. */
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
    const slices = merged(ranges).flatMap((range) => this.cut(range))
    const counts = slices.map(({ bytes }) => bytes / 4)
    const key = slices.map(keyOf).join(' ')
    const numbers = finite.map((array) => this.outputOf(array))
    const { sums, gate } = this.gates.get(key) ?? this.openGate(key, squaresSize(counts))
    const operands = (places: readonly Slice[]) => (place: Place) => slot(places, 'input' in place ? place.input : -1)
    const options = { sums: squaresSize(counts), clip, closed, finite: finite.map(({ length }) => length) }
    this.run('sumOfSquares', `${key} ${clip} ${closed} ${numbers.map(keyOf).join(' ')}`, () => [
      ...this.bind(squaresDispatches(counts), operands([...slices, sums])),
      ...this.bind({ dispatches: [gateDispatch(options)] }, operands([sums, gate, ...numbers])),
    ])
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
    for (const { arena, p, g, m, v, count, keep, factor = 1 } of ranges) {
      const arrays = [p, g, m, v].map((start) => this.cut({ arena, start, count }))
      for (const [i, own] of (arrays[0] as readonly Slice[]).entries()) {
        const places = arrays.map((slices) => slices[i] as Slice)
        const values = this.settings.write(keyOf(own), [
          first,
          second,
          beta1,
          beta2,
          factor * size,
          correction,
          epsilon,
          keep,
        ])
        const all = [...places, values, sliceOfGate(gate)]
        this.run('adamw', all.map(keyOf).join(' '), () =>
          this.bind({ dispatches: [adamwDispatch(own.bytes / 4)] }, (place) =>
            slot(all, (place as { input: number }).input),
          ),
        )
      }
    }
  }

  async adamwCompact(state: CompactState): Promise<void> {
    throw new Error(`internal: a device keeps moments in float32, not in ${state}`)
  }

  async adafactor(ranges: readonly AdafactorRange[], { beta, rate }: AdafactorSettings, gate: Gate): Promise<void> {
    for (const { arena, p, g, state, count, rows, columns, keep, factor = 1 } of ranges) {
      const size = count * (rows ?? 1) * columns
      if (size === 0) continue
      const values = this.settings.write(keyOf(slice(arena, p, size)), [beta, factor * rate, keep])
      const all = [
        slice(arena, p, size),
        slice(arena, g, size),
        slice(arena, state, count * adafactorStateSize(rows, columns)),
        values,
        sliceOfGate(gate),
      ]
      this.run('adafactor', all.map(keyOf).join(' '), () => {
        const lowered = adafactorDispatches({ count, rows, columns })
        return this.bindWithScratch(lowered, all)
      })
    }
  }

  async balance(biases: readonly LoadBias[], rate: number, gate: Gate): Promise<void> {
    for (const { arena, start, count, known, ordered } of biases) {
      const bias = slice(arena, start, count)
      const settings = this.settings.write(`balance ${keyOf(bias)}`, [rate, ...Array.from(known)])
      const all = [bias, settings, sliceOfGate(gate), ...(ordered ? [this.outputOf(ordered)] : [])]
      this.run('balance', all.map(keyOf).join(' '), () =>
        this.bindWithScratch({ dispatches: [balanceDispatch(count, ordered !== null)] }, all),
      )
    }
  }

  private outputOf(array: Float32Array): Slice {
    const slice = this.parts.outputs.get(array)
    if (!slice) throw new RuntimeError('internal: no program on this device writes this array')
    return slice
  }

  async add(additions: readonly Addition[]): Promise<void> {
    for (const { arena, to, from, count } of additions) {
      const all = [slice(arena, to, count), slice(arena, from, count)]
      this.run('add', all.map(keyOf).join(' '), () => this.bindWithScratch({ dispatches: [addDispatch(count)] }, all))
    }
  }

  async scatterAddRows({ arena, table, tableRows, rows, indices, rowCount, width }: RowScatter): Promise<void> {
    const all = [
      slice(arena, table, tableRows * width),
      slice(arena, rows, rowCount * width),
      slice(arena, indices, rowCount),
    ]
    this.run('scatterAddRows', all.map(keyOf).join(' '), () =>
      this.bindWithScratch(scatterAddRowsDispatches({ tableRows, rowCount, width }), all, { 2: 'int32' }),
    )
  }

  /** Parts of a range that the device can bind. */
  private cut({ arena, start, count }: ArenaRange): Slice[] {
    const most = Math.floor(this.parts.device.gpu.limits.maxStorageBufferBindingSize / ALIGNMENT) * RANGE_START
    const parts = Math.ceil(count / most)
    return Array.from({ length: parts }, (_, i) => slice(arena, start + i * most, Math.min(most, count - i * most)))
  }

  /** Records the dispatches of a call, which are bound when it is first made with this memory. */
  private run(kind: string, key: string, bind: () => readonly BoundDispatch[]): void {
    const { queue, profiler } = this.parts
    const name = `${kind} ${key}`
    const bound = this.bound.get(name) ?? bind()
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
  private bindWithScratch(lowered: Lowered, all: readonly Slice[], dtypes: Readonly<Record<number, DType>> = {}) {
    const sizes = (lowered.scratch ?? []).map(({ shape }) =>
      Math.max(4, 4 * shape.reduce((product, d) => product * d, 1)),
    )
    const memory = sizes.length > 0 ? this.parts.memory(sizes.reduce((sum, bytes) => sum + padded(bytes), 0)) : null
    let offset = 0
    const scratch = sizes.map((bytes): Slice => {
      const at = offset
      offset += padded(bytes)
      return { buffer: memory as GPUBuffer, offset: at, bytes }
    })
    return this.bind(
      lowered,
      (place) => ('scratch' in place ? slot(scratch, place.scratch) : slot(all, 'input' in place ? place.input : -1)),
      (place) =>
        'input' in place ? dtypes[place.input] : lowered.scratch?.[(place as { scratch: number }).scratch]?.dtype,
    )
  }

  private bind(
    { dispatches }: Lowered,
    at: (place: Place) => Slice,
    dtypeOf: (place: Place) => MemoryType | undefined = () => undefined,
  ): BoundDispatch[] {
    return dispatches.map((dispatch: Dispatch) =>
      bindDispatch(this.parts.device, dispatch, {
        dtypes: dispatch.operands.map((place) => dtypeOf(place) ?? 'float32'),
        slices: dispatch.operands.map(at),
        indirect: 'indirect' in dispatch.workgroups ? at(dispatch.workgroups.indirect) : null,
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

const slot = (slices: readonly Slice[], index: number): Slice => slices[index] as Slice

const buffers = new WeakMap<GPUBuffer, number>()
let bufferCount = 0

const keyOf = ({ buffer, offset, bytes }: Slice): string => {
  const id = buffers.get(buffer) ?? bufferCount++
  buffers.set(buffer, id)
  return `${id}:${offset}+${bytes}`
}

/** Ranges as few as possible: those that lie one after the other, with padding between them, become one. */
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
