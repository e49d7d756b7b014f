/**
 * The feed-forward networks of all experts, each over its own rows. A task is a group of rows: its activations
 * stay in the cache of one core from the first product to the last, and nothing is computed for empty
 * slots. Groups with many rows are processed in pieces of bounded size.
 *
 * GELU: y = gelu(x·up)·down. SwiGLU: y = (swish(x·gate) ∘ x·up)·down. The products before the activation are
 * kept for the gradient; the activation is recomputed there while it is in the cache.
 */

import * as declared from '../../../../../core/graph/kernels/experts.ts'
import type { MatrixLayout } from '../../../primitives/primitives.ts'
import { implement, type KernelTensor } from '../../contract.ts'
import { addressAt, isHalf, rowsOf, typeOf } from '../floats.ts'
import {
  accumulate,
  GroupRows,
  groupsOf,
  type MatrixGradient,
  PIECE,
  type Piece,
  sizesOf,
  WeightGradients,
} from './expert-shared.ts'

const plain = (stride: number): MatrixLayout => ({ stride })
const transposed = (stride: number): MatrixLayout => ({ stride, transposed: true })
/** A factor that several products share. */
const prepared = (layout: MatrixLayout): MatrixLayout => ({ ...layout, prepared: true })

type Five = [number, number, number, number, number]

/** Sizes of `up` [N, D, F]. */
const extent = ({ shape: [experts = 0, width = 0, hidden = 0] }: KernelTensor) => ({ experts, width, hidden })

export const expertFfn = implement(declared.expertFfn, {
  provider: 'primitives',
  halves: { inputs: ['rows'], outputs: ['y', 'inner', 'innerGate'] },
  scratch: ({ inputs: { up } }) => 4 * PIECE * extent(up).hidden,

  prepare(call, thread) {
    const { rows: x, sizes, up, gate, down } = call.inputs
    const { y, inner, innerGate } = call.outputs
    const { experts, width, hidden } = extent(up)
    const { primitives, scratch } = thread
    const [type, half] = [typeOf(inner), isHalf(inner)]
    const groupRows = new GroupRows(sizesOf(sizes, thread), experts)
    const { groups, sources } = groupsOf(sizes, experts)
    return {
      tasks: groups,
      run(task) {
        const { expert, part: source } = groupRows.byLoad(sources, task)
        const matrix = expert * width * hidden
        for (const { from, rows } of groupRows.pieces(source * experts + expert)) {
          const widen = primitives.product({
            m: rows,
            k: width,
            n: hidden,
            a: rowsOf(x, width),
            b: plain(hidden),
            c: hidden,
            half,
          })
          const [source, middle] = [addressAt(x, from * width), addressAt(inner, from * hidden)]
          widen.run(source, addressAt(up, matrix), middle)
          if (gate && innerGate) {
            const middleGate = addressAt(innerGate, from * hidden)
            widen.run(source, addressAt(gate, matrix), middleGate)
            primitives.activation('swish', rows * hidden, type).run(middleGate, scratch.address)
            primitives.multiply(rows * hidden, type).run(scratch.address, middle, scratch.address)
          } else primitives.activation('gelu', rows * hidden, type).run(middle, scratch.address)
          primitives
            .product({
              m: rows,
              k: hidden,
              n: width,
              a: rowsOf(inner, hidden),
              b: plain(width),
              c: width,
              half: isHalf(y),
            })
            .run(scratch.address, addressAt(down, matrix), addressAt(y, from * width))
        }
      },
    }
  },

  // Counts padding and dropped rows too, because their number is known only at run time.
  work({ inputs: { rows: x, up, gate } }) {
    const { experts, width, hidden } = extent(up)
    const rows = x.shape[0] as number
    const matrices = gate ? 3 : 2
    return {
      flops: 2 * matrices * rows * width * hidden,
      bytes: 4 * (matrices * experts * width * hidden + 2 * rows * width + (matrices - 1) * rows * hidden),
    }
  },
})

export const expertFfnGradient = implement(declared.expertFfnGradient, {
  provider: 'primitives',
  halves: { inputs: ['dy', 'rows', 'inner', 'innerGate'], outputs: ['dRows'] },
  scratch({ inputs: { up, gate }, attributes }) {
    const { width, hidden } = extent(up)
    const sums = WeightGradients.scratch(attributes, (gate ? 3 : 2) * width * hidden)
    return 4 * PIECE * ((gate ? 5 : 3) * hidden + width) + sums
  },

  prepare(call, thread) {
    const { dy, rows: x, sizes, up, gate, down, inner, innerGate } = call.inputs
    const { dRows: dx, dUp, dGate, dDown } = call.outputs
    const { experts, width, hidden } = extent(up)
    const { addends } = call
    const ofUp = { target: dUp, addend: addends.dUp, m: width, n: hidden }
    const ofGate = dGate && { target: dGate, addend: addends.dGate, m: width, n: hidden }
    const ofDown = { target: dDown, addend: addends.dDown, m: hidden, n: width }
    const { primitives, scratch } = thread
    const [type, half] = [typeOf(inner), isHalf(inner)]
    /** Activations and their gradients as factors. */
    const factorOf = (from: number, to: number, rows: number) =>
      half ? from : primitives.prepare(from, to, rows, hidden)
    const buffer = (index: number) => scratch.address + 4 * index * PIECE * hidden
    const [active, dActive, dActiveFactor, dActiveGate, dActiveGateFactor] = [0, 1, 2, 3, 4].map(buffer) as Five
    const gradientFactor = buffer(gate ? 5 : 3)
    const all = ofGate ? [ofUp, ofGate, ofDown] : [ofUp, ofDown]
    const sums = gradientFactor + 4 * PIECE * width
    const gradients = new WeightGradients(call.attributes, thread, { sizes, experts }, all, sums)
    const run = (expert: number, piece: Piece, places: readonly MatrixGradient[]) => {
      const matrix = expert * width * hidden
      const [toUp, toGate, toDown] = (ofGate ? places : [places[0], null, places[1]]) as [
        MatrixGradient,
        MatrixGradient | null,
        MatrixGradient,
      ]
      const { from, rows } = piece
      const size = rows * hidden
      const [source, middle] = [addressAt(x, from * width), addressAt(inner, from * hidden)]
      const dOut = addressAt(dy, from * width)
      const gradient = isHalf(dy) ? dOut : primitives.prepare(dOut, gradientFactor, rows, width)
      const narrow = {
        m: rows,
        k: hidden,
        n: width,
        a: prepared(plain(hidden)),
        b: transposed(hidden),
        c: width,
        half: isHalf(dx),
      }
      primitives
        .product({ m: rows, k: width, n: hidden, a: prepared(plain(width)), b: transposed(width), c: hidden, half })
        .run(gradient, addressAt(down, matrix), dActive)
      if (gate && innerGate && toGate) {
        const middleGate = addressAt(innerGate, from * hidden)
        // With h = swish(g) ∘ u: du = dh ∘ swish(g), dg = dh ∘ u ∘ swish′(g).
        primitives.multiply(size, type).run(dActive, middle, dActiveGate)
        primitives.activationGradient('swish', size, type).run(middleGate, dActiveGate, active, dActiveGate)
        primitives.multiply(size, type).run(dActive, active, dActive)
        primitives.multiply(size, type).run(active, middle, active)
        const dInner = factorOf(dActive, dActiveFactor, rows)
        const dInnerGate = factorOf(dActiveGate, dActiveGateFactor, rows)
        accumulate(primitives, toDown, piece, active, gradient, half)
        accumulate(primitives, toGate, piece, source, dInnerGate, isHalf(x))
        accumulate(primitives, toUp, piece, source, dInner, isHalf(x))
        primitives.product(narrow).run(dInner, addressAt(up, matrix), addressAt(dx, from * width))
        primitives
          .product({ ...narrow, plus: 'c' })
          .run(dInnerGate, addressAt(gate, matrix), addressAt(dx, from * width))
        return
      }
      primitives.activationGradient('gelu', size, type).run(middle, dActive, active, dActive)
      accumulate(primitives, toDown, piece, active, gradient, half)
      const dInner = factorOf(dActive, dActiveFactor, rows)
      accumulate(primitives, toUp, piece, source, dInner, isHalf(x))
      primitives.product(narrow).run(dInner, addressAt(up, matrix), addressAt(dx, from * width))
    }
    return { tasks: gradients.tasks, run: (task) => gradients.run(task, run) }
  },

  work({ inputs: { rows: x, up, gate } }) {
    const { experts, width, hidden } = extent(up)
    const rows = x.shape[0] as number
    const matrices = gate ? 3 : 2
    return {
      flops: 4 * matrices * rows * width * hidden,
      bytes: 4 * (2 * matrices * experts * width * hidden + 3 * rows * width + (matrices - 1) * rows * hidden),
    }
  },
})
