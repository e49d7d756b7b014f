/** Parts that the kernels of experts have in common: tiles, results, and calls without rows. */
import type { SourceSums } from '../../../../core/graph/kernels/experts.ts'
import type { Shape } from '../../../../core/graph/model.ts'
import type { AnyCall, Dispatch, Operand } from '../contract.ts'
import { linesOf } from '../products/floats.ts'
import { tilingOf } from '../products/matmul.ts'
import { emptySums, type Output, sumOutput } from '../products/output.ts'
import type { Tile } from '../products/product-tiles.ts'

/** Sizes of the tiles of products over rows, and of gradients of matrices. */
export interface ExpertTiles {
  readonly rows: Tile
  readonly gradient: Tile
}

/** Chooses tiles for R rows and matrices [N, D, X]. */
export type ChooseTiles = (rows: number, matrices: Shape) => ExpertTiles

/** Chooses tiles for rows that are spread evenly over experts. */
export const expertTiles: ChooseTiles = (rows, [experts = 0, width = 0, columns = 0]) => {
  const [m, n] = [Math.ceil(rows / experts), Math.min(width, columns)]
  return {
    rows: tilingOf({ batch: [experts], m, n, k: 0 }).tile,
    gradient: tilingOf({ batch: [experts], m: width, n: columns, k: 0 }).tile,
  }
}

/** A result of a call, multiplied by its factor, plus its addend if it has one. */
export const resultOf = (to: Operand, addend?: Operand, scale?: number): Output =>
  sumOutput({ to: linesOf(to), alpha: scale, addend: addend && linesOf(addend) })

/**
 * Number of ranks E that rows come from: sizes are [E·N + 1], by rank and expert.
 * @throws Error if gradients of several ranks are to be one sum: here each has its own
 */
export function sourcesOf(sizes: Operand, experts: number, sums?: SourceSums): number {
  const sources = (sizes.size - 1) / experts
  if (!Number.isInteger(sources)) throw new Error(`internal: ${sizes.size} sizes for ${experts} experts`)
  if (sums && sums.parts !== sources) throw new Error(`internal: ${sums.parts} gradients of ${sources} sources`)
  return sources
}

/** The dispatches of a call with an empty operand, in which all results are sums of nothing. */
export const lowerEmpty = ({ outputs, addends, scales }: AnyCall): Dispatch[] =>
  Object.entries(outputs).flatMap(([name, to]) =>
    to && to.size > 0 ? emptySums(to.size, resultOf(to, addends[name], scales[name])) : [],
  )
