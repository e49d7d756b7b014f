/** Arenas in the memory of a device. */
import { UsageError } from '../../core/errors.ts'
import type { Arena, ArenaRange } from '../contract/arena.ts'
import type { Device } from './device.ts'
import { padded, type WorkQueue } from './queue.ts'

export const BUFFER_USAGE = 0x80 | 0x4 | 0x8 | 0x100 // STORAGE | COPY_SRC | COPY_DST | INDIRECT

/** Maximum number of bytes that are written at once. */
const CHUNK = 16 * 2 ** 20

export class DeviceArena implements Arena {
  readonly host = null
  readonly byteLength: number
  readonly buffer: GPUBuffer
  private readonly queue: WorkQueue

  constructor(device: Device, queue: WorkQueue, bytes: number, most: number) {
    if (!Number.isSafeInteger(bytes) || bytes < 0 || bytes > most)
      throw new UsageError(`invalid arena size: ${bytes} bytes (expected at most ${most}; use several arenas)`)
    this.byteLength = Math.max(256, padded(bytes))
    this.queue = queue
    this.buffer = device.gpu.createBuffer({ size: this.byteLength, usage: BUFFER_USAGE })
  }

  async read(start: number, length: number): Promise<Float32Array> {
    const result = new Float32Array(length)
    this.expectInside(start, length)
    this.queue.readBack([{ buffer: this.buffer, offset: start * 4, bytes: length * 4 }], (bytes) => {
      result.set(new Float32Array(bytes, 0, length))
    })
    await this.queue.synchronize()
    return result
  }

  async write(start: number, values: Float32Array): Promise<void> {
    this.expectInside(start, values.length)
    for (let from = 0; from < values.length; from += CHUNK / 4) {
      const part = values.subarray(from, from + CHUNK / 4)
      // The implementation of WebGPU in Node crashes on shared memory.
      this.queue.write(this.buffer, (start + from) * 4, part.buffer instanceof ArrayBuffer ? part : part.slice())
    }
  }

  copy(start: number, from: ArenaRange): void {
    const { arena, count } = from
    if (!(arena instanceof DeviceArena)) throw new Error('internal: memory of another runtime')
    arena.expectInside(from.start, count)
    this.expectInside(start, count)
    this.queue.record((encoder) =>
      encoder.copyBufferToBuffer(arena.buffer, 4 * from.start, this.buffer, 4 * start, 4 * count),
    )
  }

  release(): void {
    this.buffer.destroy()
  }

  private expectInside(start: number, length: number): void {
    if (start < 0 || length < 0 || (start + length) * 4 > this.byteLength)
      throw new RangeError(`internal: floats ${start} to ${start + length} of an arena of ${this.byteLength / 4}`)
  }
}
