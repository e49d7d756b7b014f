/**
 * JSON Lines: one object per line, one write per line. Text after the last newline was cut off by a crash
 * or is being written, and is ignored.
 */
import { open } from 'node:fs/promises'
import { RunError } from '../../core/errors.ts'
import { bytes } from '../../core/text/numbers.ts'

/** A record as a line to append. NaN and infinities become null. */
export const jsonLine = (record: object): Uint8Array => Buffer.from(`${JSON.stringify(record)}\n`)

/**
 * Yields the objects of a JSON Lines file in order, in bounded memory. A missing file yields no object; a partial last
 * line is ignored.
 * @throws RunError naming file and line if a whole line is not JSON
 */
export async function* readJsonLines<T = unknown>(path: string): AsyncGenerator<T> {
  let number = 0
  for await (const { text, isComplete } of readLines(path)) {
    if (!isComplete) return
    number++
    if (text === null) throw new RunError(`${path}: line ${number} is longer than ${bytes(LINE_BYTES)}`)
    if (text.trim() === '') continue
    let value: T
    try {
      value = JSON.parse(text)
    } catch {
      throw new RunError(`${path}: line ${number} is not JSON: ${text.slice(0, 80)}`)
    }
    yield value
  }
}

/** Longest line that is read as text, in bytes: records are far shorter, so a longer line is no record. */
const LINE_BYTES = 16 * 2 ** 20

export interface FileLine {
  /** The line without its newline; null if the line is longer than a record can be. */
  readonly text: string | null
  /** Offset of the first byte of the line, and of the first byte after the line and its newline. */
  readonly start: number
  readonly end: number
  /** Whether a newline ends it. */
  readonly isComplete: boolean
}

/**
 * The lines of a file, in bounded memory. A missing file has none; text after the last newline is a line too.
 * @param limit Longest line that is read, in bytes.
 */
export async function* readLines(path: string, limit = LINE_BYTES): AsyncGenerator<FileLine> {
  const handle = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (!handle) return
  let pending: Buffer[] = []
  let start = 0
  let end = 0
  const add = (part: Buffer) => {
    end += part.length
    // The bytes of a longer line are not needed.
    if (end - start <= limit) pending.push(part)
  }
  const line = (isComplete: boolean): FileLine => {
    const text = end - start <= limit ? Buffer.concat(pending).toString() : null
    if (isComplete) end++
    const result = { text, start, end, isComplete }
    pending = []
    start = end
    return result
  }
  try {
    while (true) {
      const piece = Buffer.allocUnsafe(1 << 16)
      const { bytesRead } = await handle.read(piece, 0, piece.length)
      if (bytesRead === 0) break
      const read = piece.subarray(0, bytesRead)
      let from = 0
      for (let newline = read.indexOf(10); newline >= 0; newline = read.indexOf(10, from)) {
        add(read.subarray(from, newline))
        yield line(true)
        from = newline + 1
      }
      add(read.subarray(from))
    }
    if (end > start) yield line(false)
  } finally {
    await handle.close()
  }
}
