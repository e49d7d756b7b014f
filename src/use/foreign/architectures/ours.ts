/** Our side of the tables: every tensor of a model by its name in checkpoints, and the parts of their tensors in it. */
import type { ModelConfig } from '../../../core/model/config.ts'
import { expertName, parameterSpecs } from '../../../core/model/parameters.ts'
import type { TheirTensor } from './contract.ts'

export interface OurTensor {
  readonly name: string
  readonly shape: readonly number[]
}

/** Every tensor of a model. Each expert has tensors of its own. */
export const ourTensors = (model: ModelConfig): OurTensor[] =>
  parameterSpecs(model).flatMap(({ name, shape, stacked }) =>
    stacked
      ? Array.from({ length: shape[0] as number }, (_, e) => ({ name: expertName(name, e), shape: shape.slice(1) }))
      : [{ name, shape }],
  )

/** Rows and columns of a tensor seen as a matrix: leading dimensions are rows, and a vector is one column. */
export function asMatrix(shape: readonly number[]): readonly [rows: number, columns: number] {
  const columns = shape.length < 2 ? 1 : (shape.at(-1) as number)
  return [shape.reduce((product, size) => product * size, 1) / columns, columns]
}

/** A block of one of our tensors, and the rows of their tensor from which it comes. */
export interface Source {
  readonly theirs: TheirTensor
  readonly firstRow: number
  readonly rows: number
  readonly columns: number
  /** First column of our tensor if transposed, otherwise its first row. */
  readonly at: number
  readonly transposed: boolean
  /** See `Part`. */
  readonly interleaved: number | undefined
}

/** The sources of each of our tensors, by name. */
export function sourcesOf(tensors: readonly TheirTensor[]): ReadonlyMap<string, readonly Source[]> {
  const sources = new Map<string, Source[]>()
  for (const theirs of tensors) {
    const [, columns] = asMatrix(theirs.shape)
    let firstRow = 0
    for (const { rows, ours, at, transposed, interleaved } of theirs.parts) {
      const source = { theirs, firstRow, rows, columns, at, transposed, interleaved }
      const known = sources.get(ours)
      if (known) known.push(source)
      else sources.set(ours, [source])
      firstRow += rows
    }
  }
  return sources
}
