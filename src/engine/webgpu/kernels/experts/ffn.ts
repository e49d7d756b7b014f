/**
 * The feed-forward networks of all experts over their rows, forward and backward. The activation is applied at the end
 * of the products before it, and its slope at the end of the product that gives the gradient of the active values:
 * neither is a pass of its own.
 */
import type { SourceSums } from '../../../../core/graph/kernels/experts.ts'
import * as declared from '../../../../core/graph/kernels/experts.ts'
import { dim } from '../../../../core/graph/shape.ts'
import { type Dispatch, implement, type Operand, scratch } from '../contract.ts'
import { type Lines, linesOf } from '../products/floats.ts'
import { sumOutput } from '../products/output.ts'
import { bytesOfCall } from '../vectors.ts'
import { activeOutput, activeSwishOutput, geluGradientOutput, swishGradientOutput } from './activation.ts'
import { type ChooseTiles, expertTiles, lowerEmpty, resultOf, sourcesOf } from './call.ts'
import { type RowGradient, type RowProduct, rowGradient, rowProduct } from './products.ts'
import { tileRows } from './row-tiles.ts'

interface Inputs {
  readonly rows: Operand
  readonly sizes: Operand
  readonly up: Operand
  readonly gate?: Operand | undefined
}

/** Sizes of a call. */
function extentOf({ rows, sizes, up: { shape } }: Inputs, sums?: SourceSums) {
  const [experts, width, hidden] = [dim(shape, 0), dim(shape, 1), dim(shape, 2)]
  const sources = sourcesOf(sizes, experts, sums)
  return { sizes, rows: dim(rows.shape, 0), experts, sources, width, hidden }
}

function flopsOf(inputs: Inputs, passes: number): number {
  const { rows, width, hidden } = extentOf(inputs)
  return 2 * passes * (inputs.gate ? 3 : 2) * rows * width * hidden
}

/** Activations [R, F] that live for a call only, with the dtype and shape of an operand. */
const alike = ({ dtype, shape }: Operand): Lines => linesOf(scratch(dtype, shape))

export const expertFfnIn = (tiles: ChooseTiles) =>
  implement(declared.expertFfn, {
    lower(call) {
      const { rows, up, gate, down } = call.inputs
      const { y, inner, innerGate } = call.outputs
      const extent = extentOf(call.inputs)
      if (extent.rows * up.size === 0) return lowerEmpty(call)
      const { width, hidden } = extent
      const rowTiles = tileRows({ ...extent, tile: tiles(extent.rows, up.shape).rows }, [hidden, width])
      const product = (name: string, of: Omit<RowProduct, 'name' | 'rowTiles' | 'rounds'>) =>
        rowProduct({ name: `experts: ${name}`, rowTiles, rounds: call.rounds, ...of })
      const active = alike(inner)
      const widen = { rows: linesOf(rows), inner: width, columns: hidden }
      const ofInner = { inner: linesOf(inner), active }
      const activate =
        gate && innerGate
          ? [
              product('x·up', { ...widen, matrices: linesOf(up), output: resultOf(inner) }),
              product('swish(x·gate) ∘ x·up', {
                ...widen,
                matrices: linesOf(gate),
                output: activeSwishOutput({ innerGate: linesOf(innerGate), ...ofInner }),
              }),
            ]
          : [product('gelu(x·up)', { ...widen, matrices: linesOf(up), output: activeOutput(ofInner) })]
      const narrow = { rows: active, inner: hidden, columns: width }
      const result = product('h·down', { ...narrow, matrices: linesOf(down), output: resultOf(y) })
      return [rowTiles.dispatch, ...activate, result]
    },

    // The counts include unused rows, because their number is known only on the device.
    work: (call) => ({ flops: flopsOf(call.inputs, 1), bytes: bytesOfCall(call) }),

    halves: { inputs: 'all', outputs: ['y', 'inner', 'innerGate'] },
  })

export const expertFfnGradientIn = (tiles: ChooseTiles) =>
  implement(declared.expertFfnGradient, {
    lower(call) {
      const { dy, rows, up, gate, down, inner, innerGate } = call.inputs
      const { dRows, dUp, dGate, dDown } = call.outputs
      const { addends, scales, rounds } = call
      const extent = extentOf(call.inputs, call.attributes)
      if (extent.rows * up.size === 0) return lowerEmpty(call)
      const { experts, width, hidden } = extent
      const { rows: tile, gradient } = tiles(extent.rows, up.shape)
      const { gradient: gradientDown } = tiles(extent.rows, [experts, hidden, width])
      const rowTiles = tileRows({ ...extent, tile }, [hidden, width])
      const product = (name: string, of: Omit<RowProduct, 'name' | 'rowTiles' | 'transposed' | 'rounds'>) =>
        rowProduct({ name: `experts: ${name}`, rowTiles, transposed: true, rounds, ...of })
      const ofMatrix = (
        name: string,
        of: Omit<RowGradient, 'name' | 'rowTiles' | 'tile' | 'rounds'>,
        tile = gradient,
      ) => rowGradient({ name: `experts: ${name}`, rowTiles, tile, rounds, ...of })
      const narrow = { inner: hidden, columns: width }
      const [x, ofDy] = [linesOf(rows), linesOf(dy)]
      const ofInner = { inner: linesOf(inner), active: alike(inner), dInner: alike(inner) }
      const { active, dInner } = ofInner
      const gated =
        gate && innerGate && dGate
          ? { gate: linesOf(gate), innerGate: linesOf(innerGate), dInnerGate: alike(inner), dGate }
          : null
      const dispatches: Dispatch[] = [
        rowTiles.dispatch,
        product('dh and dinner', {
          rows: ofDy,
          matrices: linesOf(down),
          inner: width,
          columns: hidden,
          output: gated ? swishGradientOutput({ ...ofInner, ...gated }) : geluGradientOutput(ofInner),
        }),
        ofMatrix(
          'ddown',
          { left: active, right: ofDy, output: resultOf(dDown, addends.dDown, scales.dDown) },
          gradientDown,
        ),
        ofMatrix('dup', { left: x, right: dInner, output: resultOf(dUp, addends.dUp, scales.dUp) }),
        product('dinner·upᵀ', { ...narrow, rows: dInner, matrices: linesOf(up), output: resultOf(dRows) }),
      ]
      if (gated) {
        const { gate, dInnerGate, dGate } = gated
        const added = sumOutput({ to: linesOf(dRows), addend: 'itself' })
        dispatches.push(
          ofMatrix('dgate', { left: x, right: dInnerGate, output: resultOf(dGate, addends.dGate, scales.dGate) }),
          product('+ dinnerGate·gateᵀ', { ...narrow, rows: dInnerGate, matrices: gate, output: added }),
        )
      }
      return dispatches
    },

    work: (call) => ({ flops: flopsOf(call.inputs, 2), bytes: bytesOfCall(call) }),

    halves: { inputs: 'all', outputs: ['dRows', 'dUp', 'dGate', 'dDown'] },
    scales: ['dUp', 'dGate', 'dDown'],
  })

export const expertFfn = expertFfnIn(expertTiles)
export const expertFfnGradient = expertFfnGradientIn(expertTiles)
