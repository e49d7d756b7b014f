/**
 * A file that only grows, written behind the caller's back: `append` returns at once, writes happen one
 * after the other in that order, and an error is told at the next call. A reader that looks at any time
 * sees whole records, except perhaps a last one that is being written.
 */
import { type FileHandle, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { RunError } from '../errors.ts'
import { writeError } from './disk.ts'

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

  /** Opens at the end of a file, or creates it; `fresh` refuses a file that is there (EEXIST). */
  static async open(path: string, mode: 'continue' | 'fresh' = 'continue'): Promise<AppendFile> {
    const handle = await open(path, mode === 'fresh' ? 'ax' : 'a')
    return new AppendFile(path, handle, (await handle.stat()).size)
  }

  /** Queues one write. @throws RunError of an earlier write that failed. */
  append(record: Uint8Array): void {
    if (this.failure) throw this.failure
    this.tail = this.tail.then(() => this.write(record))
  }

  /** Waits until all that was appended is with the operating system. @throws RunError when a write failed. */
  async flush(): Promise<void> {
    await this.tail
    if (this.failure) throw this.failure
  }

  /** Waits until all that was appended survives a power cut. @throws RunError when a write failed. */
  async sync(): Promise<void> {
    this.tail = this.tail.then(() => this.attempt(() => this.handle.datasync()))
    await this.flush()
  }

  /** Writes what is queued and closes the file, also when a write failed. @throws RunError then. */
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
      const advice = 'What was written before is intact.'
      this.failure = await writeError(`write ${this.path}`, dirname(this.path), error, undefined, advice)
      // A full disk takes the beginning of a record: drop it, so that the file ends with a whole one.
      await this.handle.truncate(this.length).catch(() => undefined)
    }
  }
}
