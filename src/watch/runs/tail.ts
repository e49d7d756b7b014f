/**
 * Reading a text file that others write, line by line, as it grows. Each poll takes up where the last one ended; a
 * line counts once its newline is there. A file that is no longer the one that was read (another in its place, a
 * shorter one, other bytes at its beginning or before the place reached) is read anew.
 *
 * The memory that a poll takes does not depend on the file: it is read in pieces, and a line that is too long to be
 * anyone's record is counted and let go. Every piece gives way to whatever else the process has to do.
 */
import type { Stats } from 'node:fs'
import { type FileHandle, stat } from 'node:fs/promises'
import { errorCode } from '../../system/disk.ts'
import { openInside } from './confined.ts'

/** Bytes read at once: what is done with them takes about a millisecond, and several files may come at the same time. */
const PIECE = 128 << 10
const MAX_LINE_BYTES = 8 << 20
/** Bytes at the beginning, and before the place reached, that tell a file from one rewritten under the same name. */
const REMEMBERED = 256
const GONE: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR'])

export interface LineReceiver {
  /** A whole line without its newline, and the byte where it begins. The bytes are lent for the time of the call. */
  line(bytes: Buffer, start: number): void
  /** All lines so far are void: the file begins anew, or is gone. */
  replaced(): void
}

/** Whether a poll found nothing new, read all there is, or has some left to read. */
export type Polled = 'same' | 'read' | 'behind'

export class LineTail {
  /** Bytes read. */
  position = 0
  /** Bytes of the file when it was last looked at. */
  size = 0
  /** When the file was last written to, milliseconds since the epoch; 0 where there is none. */
  changed = 0
  /** Lines that were too long. */
  skipped = 0
  /** Whether something is there that cannot be read: not allowed, no plain file, a link that leads outside. */
  isRefused = false
  private readonly root: string
  private readonly path: string
  private readonly receiver: LineReceiver
  private file: Stats | undefined
  private lineStart = 0
  private partial: Buffer[] = []
  private partialBytes = 0
  private isTooLong = false
  /** Whether the poll has changed anything. */
  private isNews = false
  private head: Buffer = Buffer.alloc(0)
  private remembered: Buffer = Buffer.alloc(0)

  /** @param root Real path of the folder below which the file must lie. */
  constructor(root: string, path: string, receiver: LineReceiver) {
    this.root = root
    this.path = path
    this.receiver = receiver
  }

  /** @param budget Bytes to read at most; what is left is for the next poll. */
  async poll(budget = Number.POSITIVE_INFINITY): Promise<Polled> {
    let now: Stats | undefined
    try {
      now = await stat(this.path)
    } catch (error) {
      // A network file system that does not answer does not say that the file is gone.
      if (!GONE.has(errorCode(error) ?? '')) return 'same'
    }
    this.isRefused = now !== undefined && !now.isFile()
    if (!now?.isFile()) return this.vanished()
    this.changed = now.mtimeMs
    if (this.position === this.size && this.file && isSame(this.file, now)) return 'same'
    const handle = await openInside(this.root, this.path)
    this.isRefused = handle === undefined
    if (!handle) return this.vanished()
    this.isNews = false
    let isBehind = false
    try {
      isBehind = await this.readFrom(handle, budget)
    } catch (error) {
      // A file that fails half-way (a network file system does) is asked for again; what came before counts.
      if (errorCode(error) === undefined) throw error
    } finally {
      await handle.close()
    }
    if (isBehind) return 'behind'
    return this.isNews ? 'read' : 'same'
  }

  /** Reads the file anew with the next poll. */
  restart(): void {
    if (this.file) this.forget()
  }

  /** @returns whether there is more than the budget. */
  private async readFrom(handle: FileHandle, budget: number): Promise<boolean> {
    const file = await handle.stat()
    if (this.file && !(await this.isContinued(handle, this.file, file))) this.forget()
    this.file = file
    this.size = file.size
    this.changed = file.mtimeMs
    const from = this.position
    const piece = Buffer.allocUnsafe(Math.min(PIECE, Math.max(1, this.size - from)))
    while (this.position < this.size) {
      if (this.position - from >= budget) return true
      const { bytesRead } = await handle.read(
        piece,
        0,
        Math.min(piece.length, this.size - this.position),
        this.position,
      )
      if (bytesRead === 0) break
      this.take(piece.subarray(0, bytesRead))
    }
    return false
  }

  private async isContinued(handle: FileHandle, before: Stats, now: Stats): Promise<boolean> {
    if (before.ino !== now.ino || before.dev !== now.dev || now.size < this.position) return false
    const { head, remembered, position } = this
    return (await holds(handle, 0, head)) && (await holds(handle, position - remembered.length, remembered))
  }

  private take(piece: Buffer): void {
    this.isNews = true
    let start = 0
    for (let newline = piece.indexOf(10); newline >= 0; newline = piece.indexOf(10, start)) {
      this.end(piece.subarray(start, newline))
      start = newline + 1
      this.lineStart = this.position + start
    }
    this.hold(piece.subarray(start))
    this.position += piece.length
    if (this.head.length < REMEMBERED)
      this.head = Buffer.concat([this.head, piece.subarray(0, REMEMBERED - this.head.length)])
    const end = piece.length < REMEMBERED ? Buffer.concat([this.remembered, piece]) : piece
    this.remembered = Buffer.from(end.subarray(-REMEMBERED))
  }

  /** A line ends with these bytes. */
  private end(rest: Buffer): void {
    if (this.isTooLong || this.partialBytes + rest.length > MAX_LINE_BYTES) this.skipped++
    else this.receiver.line(this.partialBytes > 0 ? Buffer.concat([...this.partial, rest]) : rest, this.lineStart)
    this.drop()
    this.isTooLong = false
  }

  private hold(rest: Buffer): void {
    if (rest.length === 0 || this.isTooLong) return
    this.isTooLong = this.partialBytes + rest.length > MAX_LINE_BYTES
    if (this.isTooLong) this.drop()
    else {
      // The piece is read into again.
      this.partial.push(Buffer.from(rest))
      this.partialBytes += rest.length
    }
  }

  private drop(): void {
    this.partial = []
    this.partialBytes = 0
  }

  private vanished(): Polled {
    this.changed = 0
    if (!this.file) return 'same'
    this.forget()
    return 'read'
  }

  private forget(): void {
    this.isNews = true
    this.drop()
    this.file = undefined
    this.position = this.size = this.lineStart = this.skipped = 0
    this.isTooLong = false
    this.head = this.remembered = Buffer.alloc(0)
    this.receiver.replaced()
  }
}

/** Whether a file has these bytes at this place. */
async function holds(handle: FileHandle, at: number, bytes: Buffer): Promise<boolean> {
  const there = Buffer.alloc(bytes.length)
  const { bytesRead } = await handle.read(there, 0, there.length, at)
  return bytesRead === bytes.length && there.equals(bytes)
}

function isSame(a: Stats, b: Stats): boolean {
  return a.ino === b.ino && a.dev === b.dev && a.size === b.size && a.mtimeMs === b.mtimeMs
}
