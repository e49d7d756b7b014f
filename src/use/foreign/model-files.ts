/** The state of the files of a model of another library, so that a change is noticed. */
import { createHash } from 'node:crypto'
import { stat } from 'node:fs/promises'
import type { TensorFile } from '../../train/run/checkpoint/read-safetensors.ts'
import type { StoredTensors } from './foreign-folder.ts'

const PIECE_BYTES = 1 << 20

/**
 * A hash of sizes and times of files, and of the headers of the files with tensors. A time of change (`ctime`) cannot be
 * set by a program, so a file that was replaced by another of the same size and time of modification is noticed too.
 * @param names Paths of all files of the model.
 * @param open Opens the files with tensors.
 */
export async function stateOfFiles(names: readonly string[], open: () => Promise<StoredTensors>): Promise<string> {
  const hash = createHash('sha256')
  for (const name of names) {
    // A link to a file that is gone is no file of the model, unless reading the model fails.
    const found = await stat(name, { bigint: true }).catch(() => null)
    hash.update(JSON.stringify([name, ...[found?.size, found?.mtimeNs, found?.ctimeNs].map(String)]))
  }
  const { tensors, close } = await open()
  try {
    const headers = new Map<TensorFile, number>()
    for (const { file, entry } of tensors.values())
      headers.set(file, Math.min(headers.get(file) ?? Number.POSITIVE_INFINITY, entry.begin))
    for (const [file, bytes] of headers)
      for (let at = 0; at < bytes; at += PIECE_BYTES) {
        const piece = new Uint8Array(Math.min(PIECE_BYTES, bytes - at))
        await file.read(piece, at)
        hash.update(piece)
      }
  } finally {
    await close()
  }
  return hash.digest('hex')
}
