/**
 * An append-only file written in the background: `append` returns at once, records are written in order,
 * and an error is thrown by the next call. A concurrent reader sees whole records, except possibly the last
 * one while it is being written.
 */
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { RunError } from '../../core/errors.ts'
import { writeError } from './disk.ts'

/** Flags for appending without following a link. Windows has no such flag, but lets only administrators make links. */
const APPEND = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | (constants.O_NOFOLLOW ?? 0)

export class AppendFile {
  readonly path: string
  private readonly handle: FileHandle
  private length: number
  private tail: Promise<void> = Promise.resolve()
  private failure: RunError | undefined

  private constructor(path: string, handle: FileHandle, length: number) {
    this.path = path
    this.handle = handle
    this.length = length
  }

  /** Opens a file at its end, or creates it; `fresh` fails with EEXIST if the file exists. A link is not followed. */
  static async open(path: string, mode: 'continue' | 'fresh' = 'continue'): Promise<AppendFile> {
    const handle = await open(path, mode === 'fresh' ? APPEND | constants.O_EXCL : APPEND)
    return new AppendFile(path, handle, (await handle.stat()).size)
  }

  /** Queues one write. @throws RunError if an earlier write failed */
  append(record: Uint8Array): void {
    if (this.failure) throw this.failure
    this.tail = this.tail.then(() => this.write(record))
  }

  /** Waits until the operating system has all records. @throws RunError if a write failed */
  async flush(): Promise<void> {
    await this.tail
    if (this.failure) throw this.failure
  }

  /** Waits until all records would survive a power cut. @throws RunError if a write failed */
  async sync(): Promise<void> {
    this.tail = this.tail.then(() => this.attempt(() => this.handle.datasync()))
    await this.flush()
  }

  /** Writes queued records and closes the file, even if a write failed. @throws RunError if a write failed */
  async close(): Promise<void> {
    await this.tail
    await this.handle.close()
    if (this.failure) throw this.failure
  }

  private write(record: Uint8Array): Promise<void> {
    return this.attempt(async () => {
      await this.handle.appendFile(record)
      this.length += record.byteLength
    })
  }

  private async attempt(action: () => Promise<void>): Promise<void> {
    if (this.failure) return
    try {
      await action()
    } catch (error) {
      const advice = 'Earlier records are intact.'
      this.failure = await writeError(`write ${this.path}`, dirname(this.path), error, undefined, advice)
      // A full disk may leave part of a record: drop it, so that the file ends with a whole record.
      await this.handle.truncate(this.length).catch(() => undefined)
    }
  }
}
