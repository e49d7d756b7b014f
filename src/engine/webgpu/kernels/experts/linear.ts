/** The rows of each expert times its matrix. */
import type { SourceSums } from '../../../../core/graph/kernels/experts.ts'
import * as declared from '../../../../core/graph/kernels/experts.ts'
import { dim } from '../../../../core/graph/shape.ts'
import { implement, type Operand } from '../contract.ts'
import { linesOf } from '../products/floats.ts'
import { bytesOf, bytesOfCall } from '../vectors.ts'
import { expertTiles, lowerEmpty, resultOf, sourcesOf } from './call.ts'
import { rowGradient, rowProduct } from './products.ts'
import { tileRows } from './row-tiles.ts'

interface Inputs {
  readonly rows: Operand
  readonly sizes: Operand
  readonly weights: Operand
}

/** Sizes of a call: rows [R, D], weights [N, D, X]. */
function extentOf({ rows, sizes, weights: { shape } }: Inputs, sums?: SourceSums) {
  const [experts, width, columns] = [dim(shape, 0), dim(shape, 1), dim(shape, 2)]
  const sources = sourcesOf(sizes, experts, sums)
  return { sizes, rows: dim(rows.shape, 0), experts, sources, width, columns }
}

export const expertLinear = implement(declared.expertLinear, {
  lower(call) {
    const { rows, weights } = call.inputs
    const extent = extentOf(call.inputs)
    if (extent.rows * weights.size === 0) return lowerEmpty(call)
    const { width, columns } = extent
    const rowTiles = tileRows({ ...extent, tile: expertTiles(extent.rows, weights.shape).rows }, [columns])
    const product = rowProduct({
      name: 'rows of experts',
      rowTiles,
      rows: linesOf(rows),
      matrices: linesOf(weights),
      inner: width,
      columns,
      rounds: call.rounds,
      output: resultOf(call.outputs.y),
    })
    return [rowTiles.dispatch, product]
  },

  // The counts include unused rows, because their number is known only on the device.
  work({ inputs, outputs }) {
    const { rows, width, columns } = extentOf(inputs)
    return { flops: 2 * rows * width * columns, bytes: bytesOf(inputs.rows, inputs.weights, outputs.y) }
  },

  halves: { inputs: 'all', outputs: ['y'] },
})

export const expertLinearGradient = implement(declared.expertLinearGradient, {
  lower(call) {
    const { dy, rows, weights } = call.inputs
    const { dRows, dWeights } = call.outputs
    const extent = extentOf(call.inputs, call.attributes)
    if (extent.rows * weights.size === 0) return lowerEmpty(call)
    const { width, columns } = extent
    const tiles = expertTiles(extent.rows, weights.shape)
    const rowTiles = tileRows({ ...extent, tile: tiles.rows }, [width])
    return [
      rowTiles.dispatch,
      rowProduct({
        name: 'gradient of rows of experts',
        rowTiles,
        rows: linesOf(dy),
        matrices: linesOf(weights),
        transposed: true,
        inner: columns,
        columns: width,
        rounds: call.rounds,
        output: resultOf(dRows),
      }),
      rowGradient({
        name: 'gradient of matrices of experts',
        rowTiles,
        tile: tiles.gradient,
        left: linesOf(rows),
        right: linesOf(dy),
        rounds: call.rounds,
        output: resultOf(dWeights, call.addends.dWeights, call.scales.dWeights),
      }),
    ]
  },

  work(call) {
    const { rows, width, columns } = extentOf(call.inputs)
    return { flops: 4 * rows * width * columns, bytes: bytesOfCall(call) }
  },

  halves: { inputs: 'all', outputs: ['dRows', 'dWeights'] },
  scales: ['dWeights'],
})
