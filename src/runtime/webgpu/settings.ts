/** Numbers that change with every call of a kernel, such as the learning rate. */
import { BUFFER_USAGE } from './arena.ts'
import type { WorkQueue } from './queue.ts'
import { ALIGNMENT, type Slice } from './slice.ts'

interface Entry {
  readonly slice: Slice
  /** Submits before the last write. */
  writtenAt: number
}

export class Settings {
  private readonly gpu: GPUDevice
  private readonly queue: WorkQueue
  private readonly entries = new Map<string, Entry>()

  constructor(gpu: GPUDevice, queue: WorkQueue) {
    this.gpu = gpu
    this.queue = queue
  }

  /** Writes numbers under a name; the same memory for the same name. */
  write(name: string, values: readonly number[]): Slice {
    const { queue } = this
    const entry = this.entries.get(name) ?? this.open(name)
    // Writes overtake what is recorded. What reads the numbers of the last call must be submitted first.
    if (entry.writtenAt === queue.submits) queue.submit()
    entry.writtenAt = queue.submits
    this.gpu.queue.writeBuffer(entry.slice.buffer, 0, Float32Array.from(values))
    return entry.slice
  }

  private open(name: string): Entry {
    const buffer = this.gpu.createBuffer({ size: ALIGNMENT, usage: BUFFER_USAGE })
    const entry = { slice: { buffer, offset: 0, bytes: ALIGNMENT }, writtenAt: -1 }
    this.entries.set(name, entry)
    return entry
  }

  destroy(): void {
    for (const { slice } of this.entries.values()) slice.buffer.destroy()
  }
}
