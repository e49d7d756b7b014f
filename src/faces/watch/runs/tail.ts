/**
 * Reads a growing text file line by line while another process writes it. Each poll continues where the last one
 * ended; a line counts once its newline is there. A file that was replaced (another inode, a shorter file, other bytes
 * at its beginning or before the position reached) is read from its start.
 *
 * The memory of a poll does not depend on the file: it is read in pieces, and a line too long to be a record is
 * skipped and counted. Between pieces the process can do other work.
 */
import type { Stats } from 'node:fs'
import { type FileHandle, stat } from 'node:fs/promises'
import { errorCode } from '../../../node/system/disk.ts'
import { openInside } from './confined.ts'

/** Bytes per read: parsing them takes about a millisecond, and several files may be read concurrently. */
const PIECE_BYTES = 128 << 10
const MAX_LINE_BYTES = 8 << 20
/** Bytes compared at the beginning and before the position, to detect a file that was rewritten in place. */
const COMPARED_BYTES = 256
const GONE_CODES: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR'])

export interface LineReceiver {
  /** A whole line without its newline, and its byte offset. The buffer is valid only during the call. */
  line(bytes: Buffer, start: number): void
  /** Discards all lines so far: the file was replaced or is gone. */
  replaced(): void
}

/** A poll found nothing new, read everything, or left some for the next poll. */
export type Polled = 'same' | 'read' | 'behind'

export class LineTail {
  /** Bytes read. */
  position = 0
  /** Size of the file at the last poll. */
  size = 0
  /** Modification time, milliseconds since the epoch; 0 without a file. */
  changed = 0
  /** Lines skipped because they were too long. */
  skipped = 0
  /** Whether the file exists but cannot be read: no permission, not a plain file, a link that leads outside. */
  isRefused = false
  private readonly root: string
  private readonly path: string
  private readonly receiver: LineReceiver
  private file: Stats | undefined
  private lineStart = 0
  private partial: Buffer[] = []
  private partialBytes = 0
  private isTooLong = false
  /** Whether this poll has changed anything. */
  private isChanged = false
  private head: Buffer = Buffer.alloc(0)
  private preceding: Buffer = Buffer.alloc(0)

  /** @param root Real path of the folder below which the file must be. */
  constructor(root: string, path: string, receiver: LineReceiver) {
    this.root = root
    this.path = path
    this.receiver = receiver
  }

  /**
   * Reads new lines.
   * @param budget Limit of bytes; the rest is left for the next poll.
   * @param signal When it is aborted, the unread bytes are left for the next poll, too.
   */
  async poll(budget = Number.POSITIVE_INFINITY, signal?: AbortSignal): Promise<Polled> {
    let current: Stats | undefined
    try {
      current = await stat(this.path)
    } catch (error) {
      // Other errors do not mean that the file is gone: a network file system may not answer.
      if (!GONE_CODES.has(errorCode(error) ?? '')) return 'same'
    }
    this.isRefused = current !== undefined && !current.isFile()
    if (!current?.isFile()) return this.vanish()
    this.changed = current.mtimeMs
    if (this.position === this.size && this.file && isSame(this.file, current)) return 'same'
    const handle = await openInside(this.root, this.path)
    this.isRefused = handle === undefined
    if (!handle) return this.vanish()
    this.isChanged = false
    let isBehind = false
    try {
      isBehind = await this.readFrom(handle, budget, signal)
    } catch (error) {
      // If a read fails half-way (on a network file system), the lines so far count and the next poll continues.
      if (errorCode(error) === undefined) throw error
    } finally {
      await handle.close()
    }
    if (isBehind) return 'behind'
    return this.isChanged ? 'read' : 'same'
  }

  /** Makes the next poll read the file from its start. */
  restart(): void {
    if (this.file) this.forget()
  }

  /** @returns whether data is left after the budget */
  private async readFrom(handle: FileHandle, budget: number, signal: AbortSignal | undefined): Promise<boolean> {
    const file = await handle.stat()
    if (this.file && !(await this.isContinued(handle, this.file, file))) this.forget()
    this.file = file
    this.size = file.size
    this.changed = file.mtimeMs
    const from = this.position
    const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, Math.max(1, this.size - from)))
    while (this.position < this.size) {
      if (this.position - from >= budget || signal?.aborted) return true
      const { bytesRead } = await handle.read(
        piece,
        0,
        Math.min(piece.length, this.size - this.position),
        this.position,
      )
      if (bytesRead === 0) break
      this.split(piece.subarray(0, bytesRead))
    }
    return false
  }

  private async isContinued(handle: FileHandle, before: Stats, now: Stats): Promise<boolean> {
    if (before.ino !== now.ino || before.dev !== now.dev || now.size < this.position) return false
    const { head, preceding, position } = this
    return (await hasBytes(handle, 0, head)) && (await hasBytes(handle, position - preceding.length, preceding))
  }

  private split(piece: Buffer): void {
    this.isChanged = true
    let start = 0
    for (let newline = piece.indexOf(10); newline >= 0; newline = piece.indexOf(10, start)) {
      this.endLine(piece.subarray(start, newline))
      start = newline + 1
      this.lineStart = this.position + start
    }
    this.holdPartial(piece.subarray(start))
    this.position += piece.length
    if (this.head.length < COMPARED_BYTES)
      this.head = Buffer.concat([this.head, piece.subarray(0, COMPARED_BYTES - this.head.length)])
    const end = piece.length < COMPARED_BYTES ? Buffer.concat([this.preceding, piece]) : piece
    this.preceding = Buffer.from(end.subarray(-COMPARED_BYTES))
  }

  /** Completes a line with these bytes. */
  private endLine(rest: Buffer): void {
    if (this.isTooLong || this.partialBytes + rest.length > MAX_LINE_BYTES) this.skipped++
    else this.receiver.line(this.partialBytes > 0 ? Buffer.concat([...this.partial, rest]) : rest, this.lineStart)
    this.dropPartial()
    this.isTooLong = false
  }

  private holdPartial(rest: Buffer): void {
    if (rest.length === 0 || this.isTooLong) return
    this.isTooLong = this.partialBytes + rest.length > MAX_LINE_BYTES
    if (this.isTooLong) this.dropPartial()
    else {
      // The bytes are copied, because the buffer of the piece is reused.
      this.partial.push(Buffer.from(rest))
      this.partialBytes += rest.length
    }
  }

  private dropPartial(): void {
    this.partial = []
    this.partialBytes = 0
  }

  private vanish(): Polled {
    this.changed = 0
    if (!this.file) return 'same'
    this.forget()
    return 'read'
  }

  private forget(): void {
    this.isChanged = true
    this.dropPartial()
    this.file = undefined
    this.position = this.size = this.lineStart = this.skipped = 0
    this.isTooLong = false
    this.head = this.preceding = Buffer.alloc(0)
    this.receiver.replaced()
  }
}

/** Whether a file has these bytes at this offset. */
async function hasBytes(handle: FileHandle, offset: number, bytes: Buffer): Promise<boolean> {
  const found = Buffer.alloc(bytes.length)
  const { bytesRead } = await handle.read(found, 0, found.length, offset)
  return bytesRead === bytes.length && found.equals(bytes)
}

function isSame(a: Stats, b: Stats): boolean {
  return a.ino === b.ino && a.dev === b.dev && a.size === b.size && a.mtimeMs === b.mtimeMs
}
