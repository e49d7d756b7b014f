/**
 * The work that waits to be submitted to a device, in order. Dispatches and copies are recorded; they are submitted
 * when results are waited for, so a training step is one submit.
 */
import { type Device, runtimeError } from './device.ts'
import { ALIGNMENT, type Slice } from './program/slice.ts'

/** Memory that JavaScript can read, to which results are copied. */
interface Staging {
  readonly buffer: GPUBuffer
  used: number
  /** Parts of the memory, each with the function that takes its bytes. */
  readonly parts: { readonly at: number; readonly bytes: number; readonly take: (bytes: ArrayBuffer) => void }[]
}

const MIN_STAGING = 2 ** 16

export class WorkQueue {
  private readonly device: Device
  private encoder: GPUCommandEncoder | undefined
  private open: GPUComputePassEncoder | undefined
  private stagings: Staging[] = []
  /** Settles when the results of all earlier calls of {@link synchronize} have been taken. */
  private taking: Promise<unknown> = Promise.resolve()
  private readonly checks: Promise<GPUError | null>[] = []
  private readonly free: GPUBuffer[] = []
  /** Number of submits; commands that were recorded before have been submitted if the number has grown. */
  submits = 0

  constructor(device: Device) {
    this.device = device
  }

  /** The pass to record dispatches in. */
  pass(timestamps?: GPUComputePassTimestampWrites): GPUComputePassEncoder {
    if (timestamps) this.endPass()
    this.open ??= this.recording().beginComputePass(timestamps && { timestampWrites: timestamps })
    return this.open
  }

  endPass(): void {
    this.open?.end()
    this.open = undefined
  }

  /** Records a copy or another command outside passes. */
  record(command: (encoder: GPUCommandEncoder) => void): void {
    this.endPass()
    command(this.recording())
  }

  /**
   * Reads parts of buffers back when {@link synchronize} is called; `take` gets the parts one after the other, each at
   * a multiple of {@link ALIGNMENT}.
   */
  readBack(parts: readonly Slice[], take: (bytes: ArrayBuffer) => void): void {
    const bytes = parts.reduce((sum, part) => sum + padded(part.bytes), 0)
    if (bytes === 0) return
    const staging = this.staging(bytes)
    let at = staging.used
    staging.parts.push({ at, bytes, take })
    for (const part of parts) {
      const to = at
      if (part.bytes > 0)
        this.record((encoder) => encoder.copyBufferToBuffer(part.buffer, part.offset, staging.buffer, to, part.bytes))
      at += padded(part.bytes)
    }
    staging.used = at
  }

  /**
   * Writes host memory after all commands that were recorded before. Values in shared memory must be copied by the
   * caller.
   */
  write(buffer: GPUBuffer, offset: number, values: Float32Array | Int32Array): void {
    this.submit()
    this.device.gpu.queue.writeBuffer(buffer, offset, values as Float32Array<ArrayBuffer>)
  }

  /** Submits the recorded commands. */
  submit(): void {
    this.endPass()
    if (!this.encoder) return
    const { gpu } = this.device
    for (const filter of ERRORS) gpu.pushErrorScope(filter)
    gpu.queue.submit([this.encoder.finish()])
    for (const _ of ERRORS) this.checks.push(gpu.popErrorScope())
    this.encoder = undefined
    this.submits++
  }

  /**
   * Waits for all recorded commands, and until all results that were read back have been taken.
   * @throws RuntimeError that any of them caused
   */
  async synchronize(): Promise<void> {
    this.submit()
    const stagings = this.stagings
    this.stagings = []
    const before = this.taking
    const taken = this.take(stagings)
    this.taking = Promise.allSettled([before, taken])
    await taken
    await before
  }

  private async take(stagings: readonly Staging[]): Promise<void> {
    try {
      if (stagings.length === 0) await this.device.idle()
      for (const { buffer, used, parts } of stagings) {
        await this.device.wait(buffer.mapAsync(GPUMapMode.READ, 0, used))
        await this.check()
        const bytes = buffer.getMappedRange(0, used)
        for (const part of parts) part.take(bytes.slice(part.at, part.at + part.bytes))
        buffer.unmap()
        this.free.push(buffer)
      }
      await this.check()
    } catch (error) {
      this.device.check()
      throw error
    }
  }

  /** @throws RuntimeError if anything submitted so far was refused: a readback would then have old bytes */
  private async check(): Promise<void> {
    for (const error of await Promise.all(this.checks.splice(0))) if (error) throw runtimeError(error)
    this.device.check()
  }

  private recording(): GPUCommandEncoder {
    this.encoder ??= this.device.gpu.createCommandEncoder()
    return this.encoder
  }

  /** Memory for results, in as few buffers as possible, because each buffer takes a wait. */
  private staging(bytes: number): Staging {
    const open = this.stagings.at(-1)
    if (open && open.buffer.size - open.used >= bytes) return open
    const at = this.free.findIndex(({ size }) => size >= bytes)
    const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST
    const buffer =
      at >= 0
        ? (this.free.splice(at, 1)[0] as GPUBuffer)
        : this.device.gpu.createBuffer({ size: Math.max(MIN_STAGING, bytes), usage })
    const staging = { buffer, used: 0, parts: [] }
    this.stagings.push(staging)
    return staging
  }

  release(): void {
    for (const buffer of this.free) buffer.destroy()
  }
}

const ERRORS: readonly GPUErrorFilter[] = ['internal', 'out-of-memory', 'validation']

export const padded = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT
