/**
 * JSON Lines: one object per line, one write per line. Text after the last newline was cut off by a crash
 * or is being written, and is ignored.
 */
import { open } from 'node:fs/promises'
import { RunError } from '../errors.ts'

/** A record as a line to append. NaN and infinities become null. */
export const jsonLine = (record: object): Uint8Array => Buffer.from(`${JSON.stringify(record)}\n`)

/**
 * The objects of a JSON Lines file in order, in bounded memory. A missing file yields none; a partial last
 * line is ignored.
 * @throws RunError naming file and line if a whole line is not JSON
 */
export async function* readJsonLines<T = unknown>(path: string): AsyncGenerator<T> {
  let number = 0
  for await (const { text } of readLines(path)) {
    number++
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

/** The complete lines of a file, without their newlines, and the byte offset at which each ends. */
export async function* readLines(path: string): AsyncGenerator<{ text: string; end: number }> {
  const handle = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (!handle) return
  try {
    let pending: Buffer[] = []
    let end = 0
    while (true) {
      const piece = Buffer.allocUnsafe(1 << 16)
      const { bytesRead } = await handle.read(piece, 0, piece.length)
      if (bytesRead === 0) return
      let start = 0
      for (let newline = piece.indexOf(10); newline >= 0 && newline < bytesRead; newline = piece.indexOf(10, start)) {
        pending.push(piece.subarray(start, newline))
        const line = Buffer.concat(pending)
        pending = []
        end += line.length + 1
        start = newline + 1
        yield { text: line.toString(), end }
      }
      if (start < bytesRead) pending.push(piece.subarray(start, bytesRead))
    }
  } finally {
    await handle.close()
  }
}
