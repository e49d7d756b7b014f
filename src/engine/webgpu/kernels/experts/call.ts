/** What the kernels of experts have in common: operands of their calls, tiles, and calls without rows. */
import type { Shape } from '../../../../core/graph/model.ts'
import type { Dispatch, KernelCall, Lowered, Operand, Place } from '../../contract.ts'
import type { Lines } from '../products/floats.ts'
import { tilingOf } from '../products/matmul.ts'
import { emptySums, type Output, sumOutput } from '../products/output.ts'
import type { Tile } from '../products/product-tiles.ts'

/** Sizes of tiles: of products over rows, and of gradients of matrices. */
export interface ExpertTiles {
  readonly rows: Tile
  readonly gradient: Tile
}

/** Chooses tiles for R rows and matrices [N, D, X]. */
export type ChooseTiles = (rows: number, matrices: Shape) => ExpertTiles

/** For rows that are spread evenly over experts. */
export const expertTiles: ChooseTiles = (rows, [experts = 0, width = 0, columns = 0]) => {
  const [m, n] = [Math.ceil(rows / experts), Math.min(width, columns)]
  return {
    rows: tilingOf({ batch: [experts], m, n, k: 0 }).tile,
    gradient: tilingOf({ batch: [experts], m: width, n: columns, k: 0 }).tile,
  }
}

/** The lines of an operand of a call. */
export const linesAt = (place: Place, operand: Operand): Lines => ({
  place,
  operand,
  line: operand.shape.at(-1) as number,
})

/** Inputs and outputs of a call by index, as lines. */
export const operandsOf = ({ inputs, outputs }: KernelCall) => ({
  input: (index: number): Lines => linesAt({ input: index }, inputs[index] as Operand),
  output: (index: number): Lines => linesAt({ output: index }, outputs[index] as Operand),
})

/** Output `index` of a call, multiplied by its factor, plus its addend if it has one. */
export function outputOf(call: KernelCall, index: number): Output {
  const { input, output } = operandsOf(call)
  const addend = call.added.indexOf(index)
  return sumOutput({
    to: output(index),
    alpha: call.scales?.[index] ?? 1,
    addend: addend === -1 ? null : input(call.inputs.length - call.added.length + addend),
  })
}

/** @throws Error if rows come from several sources: a GPU has all of them itself */
export function checkSizes(sizes: Operand, experts: number): void {
  if (sizes.size !== experts + 1)
    throw new Error(`internal: ${sizes.size} sizes for ${experts} experts, not one each and one for unused rows`)
}

/** Of a call with an empty operand: all results are sums of nothing. */
export const lowerEmpty = (call: KernelCall): Lowered => ({
  dispatches: call.outputs.flatMap(({ size }, i): Dispatch[] =>
    size === 0 ? [] : [emptySums(size, outputOf(call, i))],
  ),
})
