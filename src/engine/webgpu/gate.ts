/**
 * Gates on a device: sums of squares of ranges → their total → norm, factor, decision, four f32 that stay there.
 *
 * In a process alone nothing is waited for: the gate is read back at the end of the step. With other ranks
 * (`GateOptions.all`) the sums of the ranges pass through host memory, and the same kernel adds the sums of all ranks:
 * so the norm has the same bits.
 */
import type { ArenaRange } from '../contract/arena.ts'
import type { Gate, GateOptions } from '../contract/arena-kernels.ts'
import { RuntimeError } from '../contract/runtime-error.ts'
import { BUFFER_USAGE } from './arena.ts'
import { keyOf, type RunKernel, rangeSlice, sliceOf } from './arena-slices.ts'
import type { Device } from './device.ts'
import { gateDispatch, rangeSumsDispatch, squaresDispatch } from './kernels/optimizer/squares.ts'
import { planSquares, type SquaresPlan } from './kernels/optimizer/squares-plan.ts'
import { ALIGNMENT, type Slice } from './program/slice.ts'
import { padded, type WorkQueue } from './queue.ts'

/** Bytes of a gate that have a meaning. */
const GATE_BYTES = 16

/** A plan with its memory on the device. */
interface Placed {
  readonly plan: SquaresPlan
  readonly blocks: readonly Slice[]
  readonly ranges: Slice
  readonly sums: Slice
  readonly totals: Slice
  readonly gate: Slice
}

interface GateParts {
  readonly device: Device
  readonly queue: WorkQueue
  readonly run: RunKernel
  /** The device memory of an array that a bound program writes. */
  readonly outputOf: (array: Float32Array) => Slice
}

export class Gates {
  private readonly parts: GateParts
  private readonly buffers: GPUBuffer[] = []
  /** By the ranges themselves, which a training gives again in every step, and by their places. */
  private readonly known = new WeakMap<readonly ArenaRange[], Placed>()
  private readonly placed = new Map<string, Placed>()
  private readonly gathered = new Map<number, Slice>()

  constructor(parts: GateParts) {
    this.parts = parts
  }

  async open(
    ranges: readonly ArenaRange[],
    { clip, closed = false, all, finite = [] }: GateOptions,
  ): Promise<DeviceGate> {
    const { run, queue, outputOf } = this.parts
    const placed = this.place(ranges)
    const { plan, sums, totals, gate } = placed
    plan.windows.forEach(({ arena, start, count, width }, i) => {
      const [window, blocks] = [rangeSlice(arena, start, count), placed.blocks[i] as Slice]
      run('sumOfSquares', [window, blocks, sums], (at) => [
        squaresDispatch({ range: at(window), blocks: at(blocks, undefined, 'int32'), sums: at(sums) }, width),
      ])
    })
    const shape = [ranges.length]
    run('sumOfSquares', [sums, placed.ranges, totals], (at) => [
      rangeSumsDispatch({ sums: at(sums), ranges: at(placed.ranges, undefined, 'int32'), totals: at(totals, shape) }),
    ])
    const counted = all ? await this.gather(totals, ranges.length, all) : { slice: totals, shape }
    const numbers = finite.map((array) => ({ slice: outputOf(array), shape: [array.length] }))
    const slices = [counted.slice, gate, ...numbers.map(({ slice }) => slice)]
    run(
      'sumOfSquares',
      slices,
      (at) => {
        const operands = {
          sums: at(counted.slice, counted.shape),
          gate: at(gate),
          finite: numbers.map(({ slice, shape }) => at(slice, shape)),
        }
        return [gateDispatch(operands, { clip, closed })]
      },
      `${clip} ${closed}`,
    )
    const result = new DeviceGate(gate)
    queue.readBack([{ ...gate, bytes: GATE_BYTES }], (bytes) => result.fill(new Float32Array(bytes, 0, 3)))
    if (all) await queue.synchronize()
    return result
  }

  /** Reads the sums of these ranges, and writes the sums of all ranges. */
  private async gather(totals: Slice, count: number, all: NonNullable<GateOptions['all']>) {
    const { queue } = this.parts
    let own = new Float32Array()
    queue.readBack([{ ...totals, bytes: 4 * count }], (bytes) => {
      own = new Float32Array(bytes, 0, count)
    })
    await queue.synchronize()
    const sums = Float32Array.from(await all([...own]))
    const slice = this.gathered.get(sums.length) ?? this.allocate(4 * sums.length)
    this.gathered.set(sums.length, slice)
    queue.write(slice.buffer, slice.offset, sums)
    return { slice, shape: [sums.length] }
  }

  private place(ranges: readonly ArenaRange[]): Placed {
    const found = this.known.get(ranges)
    if (found) return found
    const key = ranges.map(({ arena, start, count }) => keyOf(sliceOf(arena, start, count))).join(' ')
    const placed = this.placed.get(key) ?? this.allocateFor(ranges)
    this.placed.set(key, placed)
    this.known.set(ranges, placed)
    return placed
  }

  private allocateFor(ranges: readonly ArenaRange[]): Placed {
    const { maxStorageBufferBindingSize } = this.parts.device.gpu.limits
    const plan = planSquares(ranges, maxStorageBufferBindingSize / 4)
    return {
      plan,
      blocks: plan.windows.map(({ blocks }) => this.upload(blocks)),
      ranges: this.upload(plan.ranges),
      sums: this.allocate(4 * plan.sums),
      totals: this.allocate(4 * ranges.length),
      gate: this.allocate(GATE_BYTES),
    }
  }

  private upload(values: Int32Array): Slice {
    const slice = this.allocate(values.byteLength)
    if (values.length > 0) this.parts.device.gpu.queue.writeBuffer(slice.buffer, 0, values as Int32Array<ArrayBuffer>)
    return slice
  }

  private allocate(bytes: number): Slice {
    const size = padded(Math.max(ALIGNMENT, bytes))
    const buffer = this.parts.device.gpu.createBuffer({ size, usage: BUFFER_USAGE })
    this.buffers.push(buffer)
    return { buffer, offset: 0, bytes: Math.max(4, bytes) }
  }

  destroy(): void {
    for (const buffer of this.buffers) buffer.destroy()
    this.buffers.length = 0
    this.placed.clear()
    this.gathered.clear()
  }
}

/** The decision about an update, on the device; its fields are valid after it has been read back. */
export class DeviceGate implements Gate {
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

export function sliceOfGate(gate: Gate): Slice {
  if (!(gate instanceof DeviceGate)) throw new RuntimeError('internal: a gate of another runtime')
  return gate.slice
}
