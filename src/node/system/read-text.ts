/**
 * Reads text files that a user names, or that this program should have written. A path may lead to anything: a pipe
 * that no program writes to, a device without an end, a file of the kernel that waits for an event. So files are opened
 * without waiting, and a limit keeps large files that are no text out of memory.
 */
import { constants, type Dirent, type Stats } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { bytes } from '../../core/text/numbers.ts'

/** Limit of a configuration, in bytes. */
export const CONFIG_BYTES = 16 * 2 ** 20
/** Limit of a tokenizer and of the state of a checkpoint, in bytes. */
export const JSON_BYTES = 256 * 2 ** 20

const PIECE_BYTES = 1 << 16
/** Milliseconds between attempts to read from a pipe. */
const PIPE_MS = 10

/** Flags for opening a file without waiting. On Windows no file makes an open wait. */
export const WITHOUT_WAITING = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)

/** The kind of an entry that is neither a file nor a folder, for messages. */
export const kindOf = (entry: Dirent | Stats): string =>
  entry.isFIFO() ? 'a named pipe' : entry.isSocket() ? 'a socket' : 'a device'

/**
 * The text of a file, or of a pipe that a program writes to (`<(...)` in a shell).
 * @param limit Maximum size in bytes.
 * @throws Error with a message such as `it is a folder`, or the error of the system, with its code
 */
export async function readText(path: string, limit: number): Promise<string> {
  const target = await stat(path)
  if (target.isDirectory()) throw new Error('it is a folder (expected a file)')
  if (!target.isFile() && !target.isFIFO()) throw new Error(`it is ${kindOf(target)} (expected a file)`)
  const handle = await open(path, WITHOUT_WAITING)
  try {
    const pieces: Buffer[] = []
    let size = 0
    for (;;) {
      const piece = await readPiece(handle, target.isFIFO())
      if (piece.length === 0) break
      size += piece.length
      if (size > limit) throw new Error(`it has more than ${bytes(limit)} (is it another file?)`)
      pieces.push(piece)
    }
    if (size === 0 && target.isFIFO()) throw new Error('it is a pipe that no program writes to')
    return Buffer.concat(pieces).toString('utf8')
  } finally {
    await handle.close()
  }
}

/** Reads the next bytes; the buffer is empty at the end. Only a pipe is waited for. */
async function readPiece(handle: FileHandle, isPipe: boolean): Promise<Buffer> {
  for (;;)
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(PIECE_BYTES), 0, PIECE_BYTES)
      return buffer.subarray(0, bytesRead)
    } catch (error) {
      const reason = readError(error)
      if (reason === error || !isPipe) throw reason
      await delay(PIPE_MS)
    }
}

/**
 * A clear error for EAGAIN, which means that a file of the kernel has no bytes yet, and will never end. Other errors
 * are returned unchanged.
 */
export const readError = (error: unknown): unknown =>
  (error as NodeJS.ErrnoException).code === 'EAGAIN' ? new Error('it has no end: it is not a file on a disk') : error
