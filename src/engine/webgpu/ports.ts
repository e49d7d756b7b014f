/** The ports of a bound program: arrays of the host have copies on the device, and ranges of arenas are bound as they are. */
import type { DType } from '../../core/graph/model.ts'
import type { ArenaRange } from '../contract/arena.ts'
import type { Buffer, PortMemory } from '../contract/runtime.ts'
import { RuntimeError } from '../contract/runtime-error.ts'
import { BUFFER_USAGE, DeviceArena } from './arena.ts'
import type { LoweredProgram } from './program/lower-program.ts'
import { ALIGNMENT, type Slice } from './program/slice.ts'
import { padded } from './queue.ts'

const isRange = (memory: PortMemory): memory is ArenaRange => 'arena' in memory

/** Numbers of a host array as the device keeps them, in memory that is not shared. */
export function toDevice(data: Buffer, dtype: DType): Float32Array | Int32Array {
  if (dtype === 'float32') return Float32Array.from(data as Float32Array)
  if (dtype === 'int64') return Int32Array.from(data as BigInt64Array, Number as unknown as (value: bigint) => number)
  return Int32Array.from(data as Int32Array)
}

/** A host array of a binding, with its place in a buffer of the device. */
interface HostPort {
  readonly dtype: DType
  readonly array: Buffer
  readonly slice: Slice
}

export interface BoundPorts {
  readonly slices: ReadonlyMap<number, Slice>
  readonly uploads: readonly HostPort[]
  readonly downloads: readonly HostPort[]
  readonly memory: GPUBuffer | null
}

export function bindPorts(
  gpu: GPUDevice,
  program: LoweredProgram,
  memory: Readonly<Record<string, PortMemory>>,
): BoundPorts {
  const ports = [
    ...program.inputs.map((port, i) => ({ port, value: program.valueOfInput[i] as number, isInput: true })),
    ...program.outputs.map((port, i) => ({ port, value: program.valueOfOutput[i] as number, isInput: false })),
  ]
  const slices = new Map<number, Slice>()
  // An output may be the array of an input: both then have one place on the device.
  const offsets = new Map<string, number>()
  let bytes = 0
  for (const { port } of ports) {
    const bound = memory[port.name] as PortMemory
    if (isRange(bound) || offsets.has(placeOf(bound))) continue
    offsets.set(placeOf(bound), bytes)
    bytes += Math.max(ALIGNMENT, padded(bound.length * 4))
  }
  const buffer = bytes > 0 ? gpu.createBuffer({ size: bytes, usage: BUFFER_USAGE }) : null
  const [uploads, downloads]: [HostPort[], HostPort[]] = [[], []]
  for (const { port, value, isInput } of ports) {
    const bound = memory[port.name] as PortMemory
    if (isRange(bound)) {
      slices.set(value, arenaSlice(bound, port.name))
      continue
    }
    const offset = offsets.get(placeOf(bound)) as number
    const slice = { buffer: buffer as GPUBuffer, offset, bytes: Math.max(4, bound.length * 4) }
    slices.set(value, slice)
    ;(isInput ? uploads : downloads).push({ dtype: port.dtype, array: bound, slice })
  }
  return { slices, uploads, downloads, memory: buffer }
}

const arrays = new WeakMap<ArrayBufferLike, number>()
let arrayCount = 0

/** A key that is equal for arrays in the same memory. */
function placeOf({ buffer, byteOffset, byteLength }: Buffer): string {
  const id = arrays.get(buffer) ?? arrayCount++
  arrays.set(buffer, id)
  return `${id} ${byteOffset} ${byteLength}`
}

function arenaSlice({ arena, start, count }: ArenaRange, name: string): Slice {
  if (!(arena instanceof DeviceArena)) throw new RuntimeError(`internal: ${name} is bound to memory of another runtime`)
  if ((start * 4) % ALIGNMENT !== 0)
    throw new RuntimeError(
      `internal: ${name} begins at byte ${start * 4} of an arena (expected a multiple of ${ALIGNMENT})`,
    )
  return { buffer: arena.buffer, offset: start * 4, bytes: Math.max(4, count * 4) }
}

/** Takes what the device has written into an array of the host, from byte `at` on. */
export function fromDevice(bytes: ArrayBuffer, at: number, array: Buffer, dtype: DType): void {
  if (dtype === 'float32') (array as Float32Array).set(new Float32Array(bytes, at, array.length))
  else if (dtype === 'int64')
    (array as BigInt64Array).set(BigInt64Array.from(new Int32Array(bytes, at, array.length), BigInt))
  else (array as Int32Array | Uint8Array).set(new Int32Array(bytes, at, array.length))
}
