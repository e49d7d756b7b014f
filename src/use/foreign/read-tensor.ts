/** Reads one of our tensors from the rows of their tensors, through a bounded buffer. */
import { RunError } from '../../core/errors.ts'
import { allFinite } from '../../train/run/checkpoint/read-safetensors.ts'
import { deinterleaved } from './architectures/interleave.ts'
import { asMatrix, type OurTensor, type Source } from './architectures/ours.ts'
import { decoderOf } from './decode/decoder.ts'
import type { StoredTensor } from './foreign-folder.ts'

const BUFFER_BYTES = 4 << 20
/** Rows and columns of a tile: both sides of a transposition stay in the first-level cache. */
const TILE = 32

/**
 * Reads a tensor from its sources.
 * @param stored Their tensors by name, with the tensors of all sources.
 * @throws RunError naming the tensor and the place of a number that is NaN or infinite
 */
export async function readTensor(
  { shape }: OurTensor,
  sources: readonly Source[],
  stored: ReadonlyMap<string, StoredTensor>,
): Promise<Float32Array> {
  const [rows, columns] = asMatrix(shape)
  const values = new Float32Array(rows * columns)
  for (const source of sources) {
    const { file, entry } = stored.get(source.theirs.name) as StoredTensor
    const { block, bytes, decode } = decoderOf(entry.dtype)
    if (source.columns % block !== 0)
      throw new RunError(`${file.path}: ${source.theirs.name} is a vector of type ${entry.dtype} (expected F32)`)
    const rowBytes = (source.columns / block) * bytes
    // Rows of a head are reordered together.
    const unit = source.interleaved ?? 1
    const step = Math.min(source.rows, unit * Math.max(1, Math.floor(BUFFER_BYTES / rowBytes / unit)))
    const buffer = new Uint8Array(step * rowBytes)
    const chunk = new Float32Array(step * source.columns)
    for (let row = 0; row < source.rows; row += step) {
      const count = Math.min(step, source.rows - row)
      await file.read(buffer.subarray(0, count * rowBytes), entry.begin + (source.firstRow + row) * rowBytes)
      const part = chunk.subarray(0, count * source.columns)
      decode(buffer.buffer, part)
      if (!allFinite(part)) {
        const wrong = part.findIndex((value) => !Number.isFinite(value))
        const { name, shape: of } = source.theirs
        const place = placeOf((source.firstRow + row) * source.columns + wrong, of)
        throw new RunError(
          `${file.path}: ${name} has ${part[wrong]} at [${place.join(', ')}] of [${of.join(', ')}] (a model with such a ` +
            'number computes nothing but NaN; get intact weights)',
        )
      }
      const ordered = source.interleaved === undefined ? part : deinterleaved(part, source.columns, source.interleaved)
      if (source.transposed) transpose(ordered, source.columns, values, columns, source.at + row)
      else values.set(ordered, (source.at + row) * columns)
    }
  }
  return values
}

/** The indices of an element by its place in row order. */
function placeOf(element: number, shape: readonly number[]): number[] {
  let rest = element
  return shape
    .toReversed()
    .map((size) => {
      const index = rest % size
      rest = (rest - index) / size
      return index
    })
    .reverse()
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
