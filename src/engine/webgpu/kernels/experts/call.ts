/** Parts that the kernels of experts have in common: tiles, results, and calls without rows. */
import type { Shape } from '../../../../core/graph/model.ts'
import type { AnyCall, Dispatch, Operand } from '../../contract.ts'
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

/** @throws Error if rows come from several sources: a GPU has all rows itself */
export function checkSizes(sizes: Operand, experts: number): void {
  if (sizes.size !== experts + 1)
    throw new Error(`internal: ${sizes.size} sizes for ${experts} experts, not one each and one for unused rows`)
}

/** The dispatches of a call with an empty operand, in which all results are sums of nothing. */
export const lowerEmpty = ({ outputs, addends, scales }: AnyCall): Dispatch[] =>
  Object.entries(outputs).flatMap(([name, to]) =>
    to && to.size > 0 ? emptySums(to.size, resultOf(to, addends[name], scales[name])) : [],
  )
