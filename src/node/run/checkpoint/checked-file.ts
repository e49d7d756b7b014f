/**
 * Writes a file through two bounded buffers and computes the checksums of the file and of its tensors. Hashing one
 * buffer overlaps with writing the other, and no step blocks the event loop for more than a few milliseconds.
 */
import { createHash } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import type { Checked } from '../../../train/run/checkpoint/description.ts'
import { allFinite } from '../../../train/run/checkpoint/read-safetensors.ts'
import type { OutputFile } from '../../../train/run/checkpoint/safetensors.ts'

const BUFFER_BYTES = 4 << 20

/** Error for a tensor from which no training can continue. */
export class NotFinite extends Error {
  readonly tensor: string

  constructor(tensor: string) {
    super(`${tensor} holds numbers that are not finite`)
    this.tensor = tensor
  }
}

/**
 * Creates a file and syncs it to the disk.
 * @param signal When it is aborted, the file stays unfinished, and the reason of the signal is thrown.
 * @throws NotFinite if a tensor that must be finite is not
 */
export async function writeChecked(path: string, file: OutputFile, signal?: AbortSignal): Promise<Checked> {
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
    signal?.throwIfAborted()
    hash.update(full)
    ;[buffer, other] = [other, buffer]
    filled = 0
  }
  try {
    const tensors: Record<string, string> = {}
    for (const { name, byteLength, finite = false, read } of file.pieces) {
      signal?.throwIfAborted()
      const bytes = await read()
      if (bytes.length !== byteLength) throw new Error(`internal: ${bytes.length} bytes of ${name}, not ${byteLength}`)
      const ofTensor = name === undefined ? null : createHash('sha256')
      for (let at = 0; at < bytes.length; ) {
        const take = Math.min(bytes.length - at, size - filled)
        if (finite && !allFinite(new Float32Array(bytes.buffer, bytes.byteOffset + at, take / 4)))
          throw new NotFinite(name as string)
        buffer.set(bytes.subarray(at, at + take), filled)
        ofTensor?.update(buffer.subarray(filled, filled + take))
        filled += take
        at += take
        if (filled === size) await drain()
      }
      if (ofTensor) tensors[name as string] = ofTensor.digest('hex')
    }
    await drain()
    await writing
    await handle.sync()
    const { size: onDisk } = await handle.stat()
    if (onDisk !== file.bytes) throw new Error(`${path} has ${onDisk} bytes after writing ${file.bytes}`)
    return { sum: hash.digest('hex'), tensors }
  } finally {
    await writing.catch(() => undefined)
    await handle.close()
  }
}

async function writeFully(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) done += (await handle.write(bytes, done)).bytesWritten
}
