/**
 * Writes a file through two bounded buffers and computes its checksum. Hashing one buffer overlaps with
 * writing the other, and no step blocks the event loop for more than a few milliseconds.
 */
import { createHash } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import type { PlannedFile } from './safetensors.ts'

const BUFFER_BYTES = 4 << 20

/** Creates a file and syncs it to the disk. Returns its SHA-256 in hexadecimal. */
export async function writeChecked(path: string, file: PlannedFile): Promise<string> {
  const handle = await open(path, 'wx')
  const size = Math.min(BUFFER_BYTES, Math.max(1, file.bytes))
  let buffer = Buffer.allocUnsafe(size)
  let other = Buffer.allocUnsafe(size)
  let filled = 0
  let writing: Promise<void> = Promise.resolve()
  const hash = createHash('sha256')
  const drain = async () => {
    const full = buffer.subarray(0, filled)
    await writing
    writing = writeFully(handle, full)
    // A rejection is handled at the next await; until then it must not count as unhandled.
    writing.catch(() => undefined)
    hash.update(full)
    ;[buffer, other] = [other, buffer]
    filled = 0
  }
  try {
    for (const piece of file.pieces)
      for (let at = 0; at < piece.length; ) {
        const take = Math.min(piece.length - at, size - filled)
        buffer.set(piece.subarray(at, at + take), filled)
        filled += take
        at += take
        if (filled === size) await drain()
      }
    await drain()
    await writing
    await handle.sync()
    const { size: onDisk } = await handle.stat()
    if (onDisk !== file.bytes) throw new Error(`${path} has ${onDisk} bytes after writing ${file.bytes}`)
    return hash.digest('hex')
  } finally {
    await writing.catch(() => undefined)
    await handle.close()
  }
}

async function writeFully(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) done += (await handle.write(bytes, done)).bytesWritten
}
