/** Reads one of our tensors from the rows of theirs, through a bounded buffer. */
import { asMatrix, type OurTensor, type Source } from '../architectures/ours.ts'
import { decoderOf } from './decode.ts'
import type { StoredTensor } from './foreign-folder.ts'

const BUFFER_BYTES = 4 << 20
/** Rows and columns of a tile: both sides of a transposition stay in the first-level cache. */
const TILE = 32

/** @param stored Their tensors by name: those of all sources. */
export async function readTensor(
  { shape }: OurTensor,
  sources: readonly Source[],
  stored: ReadonlyMap<string, StoredTensor>,
): Promise<Float32Array> {
  const [rows, columns] = asMatrix(shape)
  const values = new Float32Array(rows * columns)
  for (const source of sources) {
    const { file, entry } = stored.get(source.theirs.name) as StoredTensor
    const { bytes, decode } = decoderOf(entry.dtype)
    const rowBytes = source.columns * bytes
    const step = Math.min(source.rows, Math.max(1, Math.floor(BUFFER_BYTES / rowBytes)))
    const buffer = new Uint8Array(step * rowBytes)
    const chunk = new Float32Array(step * source.columns)
    for (let row = 0; row < source.rows; row += step) {
      const count = Math.min(step, source.rows - row)
      await file.read(buffer.subarray(0, count * rowBytes), entry.begin + (source.firstRow + row) * rowBytes)
      const part = chunk.subarray(0, count * source.columns)
      decode(buffer.buffer, part)
      if (source.transposed) transpose(part, source.columns, values, columns, source.at + row)
      else values.set(part, (source.at + row) * columns)
    }
  }
  return values
}

/** Writes rows [n, c] as columns `at` to `at + n` of `into`, which is [c, width]. */
function transpose(rows: Float32Array, c: number, into: Float32Array, width: number, at: number): void {
  const n = rows.length / c
  for (let row = 0; row < n; row += TILE)
    for (let column = 0; column < c; column += TILE) {
      const [lastRow, lastColumn] = [Math.min(n, row + TILE), Math.min(c, column + TILE)]
      for (let j = column; j < lastColumn; j++)
        for (let i = row; i < lastRow; i++) into[j * width + at + i] = rows[i * c + j] as number
    }
}
