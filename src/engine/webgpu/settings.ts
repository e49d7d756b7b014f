/** Numbers that change with every call of a kernel, such as the learning rate. */
import { BUFFER_USAGE } from './arena.ts'
import type { Slice } from './program/slice.ts'
import { padded, type WorkQueue } from './queue.ts'

interface Entry {
  readonly slice: Slice
  /** Number of submits before the last write. */
  writtenAt: number
  values: readonly number[]
}

export class Settings {
  private readonly gpu: GPUDevice
  private readonly queue: WorkQueue
  private readonly entries = new Map<string, Entry>()

  constructor(gpu: GPUDevice, queue: WorkQueue) {
    this.gpu = gpu
    this.queue = queue
  }

  /**
   * Writes numbers under a name, which always has equally many numbers and the same memory. Equal numbers are not
   * written again.
   */
  write(name: string, values: readonly number[]): Slice {
    const { queue } = this
    const entry = this.entries.get(name) ?? this.open(name, values.length)
    if (values.length === entry.values.length && values.every((value, i) => value === entry.values[i]))
      return entry.slice
    // Writes overtake recorded commands, so commands that read the numbers of the last call must be submitted first.
    if (entry.writtenAt === queue.submits) queue.submit()
    entry.writtenAt = queue.submits
    entry.values = values
    this.gpu.queue.writeBuffer(entry.slice.buffer, 0, Float32Array.from(values))
    return entry.slice
  }

  private open(name: string, count: number): Entry {
    const bytes = padded(4 * count)
    const buffer = this.gpu.createBuffer({ size: bytes, usage: BUFFER_USAGE })
    const entry: Entry = { slice: { buffer, offset: 0, bytes }, writtenAt: -1, values: [] }
    this.entries.set(name, entry)
    return entry
  }

  destroy(): void {
    for (const { slice } of this.entries.values()) slice.buffer.destroy()
  }
}
