/** The parameters of a loaded model, read one at a time, as they are or gathered into tensors of an architecture. */
import { sizeOf } from '../../../core/graph/shape.ts'
import { readRange } from '../../../engine/contract/arena.ts'
import { parameterTensors } from '../../../train/step/store/named-tensors.ts'
import type { ParameterStore } from '../../../train/step/store/store.ts'
import type { TheirTensor } from '../../foreign/architectures/contract.ts'
import { interleaved } from '../../foreign/architectures/interleave.ts'

/** Tensors by their names in checkpoints, where every expert is a tensor: `layers.0.moe.experts.3.up`. */
export interface Weights {
  shape(name: string): readonly number[]
  /** The numbers row by row, as a view or a copy that must not be changed. */
  read(name: string): Promise<Float32Array>
}

export function weightsOf(store: ParameterStore): Weights {
  const tensors = new Map(parameterTensors(store).map((tensor) => [tensor.name, tensor]))
  const find = (name: string) => {
    const tensor = tensors.get(name)
    if (!tensor) throw new Error(`internal: no parameter ${name}`)
    return tensor
  }
  return { shape: (name) => find(name).shape, read: (name) => readRange(find(name).range) }
}

/** The numbers of one of their tensors, row by row. */
export async function gatherTensor({ shape, parts }: TheirTensor, weights: Weights): Promise<Float32Array> {
  const size = sizeOf(shape)
  const [only] = parts
  if (only && parts.length === 1 && !only.transposed && only.at === 0 && only.interleaved === undefined) {
    const values = await weights.read(only.ours)
    if (values.length === size) return values
  }
  const rows = parts.reduce((sum, part) => sum + part.rows, 0)
  const columns = size / rows
  const gathered = new Float32Array(size)
  let row = 0
  // Consecutive parts often come from one tensor.
  let last: { name: string; values: Float32Array } = { name: '', values: gathered }
  for (const { rows: count, ours, at, transposed, interleaved: head } of parts) {
    const into = gathered.subarray(row * columns, (row + count) * columns)
    if (last.name !== ours) last = { name: ours, values: await weights.read(ours) }
    const { values } = last
    if (transposed) transposeColumns(values, weights.shape(ours).at(-1) as number, at, into, columns)
    else into.set(values.subarray(at * columns, (at + count) * columns))
    if (head !== undefined) into.set(interleaved(into, columns, head))
    row += count
  }
  return gathered
}

/** Rows and columns of a tile: both sides of its transposition stay in the first-level cache. */
const TILE = 32

/** Writes the columns of `values` from `at` on as rows of `into`. Rows have `width` numbers there, `length` here. */
function transposeColumns(values: Float32Array, width: number, at: number, into: Float32Array, length: number): void {
  const count = into.length / length
  for (let r = 0; r < count; r += TILE)
    for (let c = 0; c < length; c += TILE)
      for (let row = r; row < Math.min(r + TILE, count); row++)
        for (let column = c; column < Math.min(c + TILE, length); column++)
          into[row * length + column] = values[column * width + at + row] as number
}
