/**
 * The feed-forward networks of all experts, each over its own rows. A task is an expert: its activations
 * stay in the cache of one core from the first product to the last, and nothing is computed for empty
 * slots. Experts with many rows are worked through in pieces of bounded size.
 *
 * GELU: y = gelu(x·up)·down. SwiGLU: y = (swish(x·gate) ∘ x·up)·down. What the gradient needs again is
 * the products before the activation; the activation itself is computed anew while it is in the cache.
 */
import type { MatrixLayout } from '../../onednn/product.ts'
import type { Kernel, KernelCall, KernelTensor } from '../contract.ts'
import { at, byLoad, PIECE, type Piece, pieces, sizesOf } from './expert-rows.ts'

const plain = (stride: number): MatrixLayout => ({ stride })
const transposed = (stride: number): MatrixLayout => ({ stride, transposed: true })
/** A factor that several products share. */
const prepared = (layout: MatrixLayout): MatrixLayout => ({ ...layout, prepared: true })

type Five = [number, number, number, number, number]

function weightsOf({ attributes }: KernelCall, tensors: readonly KernelTensor[]) {
  const [up, gate, down] = attributes.gated === 1 ? tensors : [tensors[0], null, tensors[1]]
  if (!up || !down) throw new Error('internal: an expert without weights')
  const [experts = 0, width = 0, hidden = 0] = up.shape
  return { up, gate: gate ?? null, down, experts, width, hidden }
}

/** Inputs rows [R, D], sizes [N + 1], up, (gate,) [N, D, F], down [N, F, D]; outputs y [R, D], inner (, innerGate) [R, F]. */
export const expertFfn: Kernel = {
  provider: 'oneDNN',
  scratch: (call) => 4 * PIECE * weightsOf(call, call.inputs.slice(2)).hidden,

  prepare(call, thread) {
    const [x, sizeTensor, ...rest] = call.inputs as [KernelTensor, KernelTensor, ...KernelTensor[]]
    const { up, gate, down, experts, width, hidden } = weightsOf(call, rest)
    const [y, inner, innerGate] = call.outputs as [KernelTensor, KernelTensor, KernelTensor?]
    const { dnnl, scratch } = thread
    const sizes = sizesOf(sizeTensor, thread)
    return {
      tasks: experts,
      run(task) {
        const expert = byLoad(sizes, experts)[task] as number
        const matrix = expert * width * hidden
        for (const { from, rows } of pieces(sizes, expert)) {
          const widen = dnnl.product({ m: rows, k: width, n: hidden, a: plain(width), b: plain(hidden), c: hidden })
          const [source, middle] = [at(x, from * width), at(inner, from * hidden)]
          widen.run(source, at(up, matrix), middle)
          if (gate && innerGate) {
            const middleGate = at(innerGate, from * hidden)
            widen.run(source, at(gate, matrix), middleGate)
            dnnl.activation('swish', rows * hidden).run(middleGate, scratch.address)
            dnnl.multiply(rows * hidden).run(scratch.address, middle, scratch.address)
          } else dnnl.activation('gelu', rows * hidden).run(middle, scratch.address)
          dnnl
            .product({ m: rows, k: hidden, n: width, a: plain(hidden), b: plain(width), c: width })
            .run(scratch.address, at(down, matrix), at(y, from * width))
        }
      },
    }
  },

  // Padding and what is dropped count for nothing, but how much that is shows only when it runs.
  work(call) {
    const [x, , ...rest] = call.inputs as [KernelTensor, KernelTensor, ...KernelTensor[]]
    const { gate, experts, width, hidden } = weightsOf(call, rest)
    const rows = x.shape[0] as number
    const matrices = gate ? 3 : 2
    return {
      flops: 2 * matrices * rows * width * hidden,
      bytes: 4 * (matrices * experts * width * hidden + 2 * rows * width + (matrices - 1) * rows * hidden),
    }
  },
}

/**
 * Inputs dy [R, D], rows, sizes, up, (gate,) down, inner (, innerGate); outputs gradients of rows, up,
 * (gate,) down. An expert without rows has a gradient of zero.
 */
export const expertFfnGradient: Kernel = {
  provider: 'oneDNN',
  scratch(call) {
    const { gate, width, hidden } = weightsOf(call, call.inputs.slice(3))
    return 4 * PIECE * ((gate ? 5 : 3) * hidden + width)
  },

  prepare(call, thread) {
    const gated = call.attributes.gated === 1
    const [dy, x, sizeTensor, ...rest] = call.inputs as [KernelTensor, KernelTensor, KernelTensor, ...KernelTensor[]]
    const { up, gate, down, experts, width, hidden } = weightsOf(call, rest)
    const [inner, innerGate] = rest.slice(gated ? 3 : 2) as [KernelTensor, KernelTensor?]
    const addends = call.inputs.slice(call.inputs.length - call.added.length)
    const addendOf = (output: number) => addends[call.added.indexOf(output)]
    const [dx, dUp, ...dRest] = call.outputs as [KernelTensor, KernelTensor, ...KernelTensor[]]
    const [dGate, dDown] = (gated ? dRest : [undefined, dRest[0]]) as [KernelTensor | undefined, KernelTensor]
    const { dnnl, scratch, floats } = thread
    const sizes = sizesOf(sizeTensor, thread)
    const buffer = (index: number) => scratch.address + 4 * index * PIECE * hidden
    const [active, dActive, dActiveFactor, other, otherFactor] = [0, 1, 2, 3, 4].map(buffer) as Five
    const gradientFactor = buffer(gated ? 5 : 3)
    /** Floats as a factor that several products share: as they are, or rounded into `place`. */
    const prepare = (floats: number, place: number, rows: number, columns: number): number => {
      if (dnnl.factorBytes === 4) return floats
      dnnl.round(rows, columns, columns).run(floats, place)
      return place
    }

    /** gradient (+)= leftᵀ · right, where left is [rows, m] and right [rows, n], prepared. */
    const accumulate = (
      output: number,
      target: KernelTensor,
      matrix: number,
      [m, n]: readonly [number, number],
      piece: Piece,
      left: number,
      right: number,
    ) => {
      const addend = piece.first ? addendOf(output) : undefined
      const inPlace = !piece.first || addend?.address === target.address
      const product = dnnl.product({
        m,
        k: piece.rows,
        n,
        a: transposed(m),
        b: prepared(plain(n)),
        c: n,
        ...(inPlace ? { plus: 'c' as const } : addend && { plus: n }),
      })
      product.run(left, right, at(target, matrix), ...(addend && !inPlace ? [at(addend, matrix)] : []))
    }
    /** What an expert without rows adds: nothing. A product with a row of zeros says so at any address. */
    const nothing = (expert: number) => {
      floats.fill(0, scratch.offset / 4, scratch.offset / 4 + Math.max(width, hidden))
      const piece = { from: 0, rows: 1, first: true }
      const matrix = expert * width * hidden
      accumulate(1, dUp, matrix, [width, hidden], piece, scratch.address, scratch.address)
      if (dGate) accumulate(2, dGate, matrix, [width, hidden], piece, scratch.address, scratch.address)
      accumulate(gated ? 3 : 2, dDown, matrix, [hidden, width], piece, scratch.address, scratch.address)
    }
    const run = (expert: number, piece: Piece) => {
      const { from, rows } = piece
      const matrix = expert * width * hidden
      const size = rows * hidden
      const [source, middle] = [at(x, from * width), at(inner, from * hidden)]
      const gradient = prepare(at(dy, from * width), gradientFactor, rows, width)
      const narrow = { m: rows, k: hidden, n: width, a: prepared(plain(hidden)), b: transposed(hidden), c: width }
      dnnl
        .product({ m: rows, k: width, n: hidden, a: prepared(plain(width)), b: transposed(width), c: hidden })
        .run(gradient, at(down, matrix), dActive)
      if (gate && innerGate && dGate) {
        const middleGate = at(innerGate, from * hidden)
        // With h = swish(g) ∘ u: du = dh ∘ swish(g), dg = dh ∘ u ∘ swish′(g).
        dnnl.activation('swish', size).run(middleGate, active)
        dnnl.multiply(size).run(dActive, middle, other)
        dnnl.activationGradient('swish', size).run(middleGate, other, other)
        dnnl.multiply(size).run(dActive, active, dActive)
        dnnl.multiply(size).run(active, middle, active)
        const [dInner, dInnerGate] = [
          prepare(dActive, dActiveFactor, rows, hidden),
          prepare(other, otherFactor, rows, hidden),
        ]
        accumulate(3, dDown, matrix, [hidden, width], piece, active, gradient)
        accumulate(2, dGate, matrix, [width, hidden], piece, source, dInnerGate)
        accumulate(1, dUp, matrix, [width, hidden], piece, source, dInner)
        dnnl.product(narrow).run(dInner, at(up, matrix), at(dx, from * width))
        dnnl.product({ ...narrow, plus: 'c' }).run(dInnerGate, at(gate, matrix), at(dx, from * width))
        return
      }
      dnnl.activation('gelu', size).run(middle, active)
      accumulate(2, dDown, matrix, [hidden, width], piece, active, gradient)
      dnnl.activationGradient('gelu', size).run(middle, dActive, dActive)
      const dInner = prepare(dActive, dActiveFactor, rows, hidden)
      accumulate(1, dUp, matrix, [width, hidden], piece, source, dInner)
      dnnl.product(narrow).run(dInner, at(up, matrix), at(dx, from * width))
    }
    return {
      tasks: experts,
      run(task) {
        const expert = byLoad(sizes, experts)[task] as number
        const all = pieces(sizes, expert)
        if (all.length === 0) nothing(expert)
        for (const piece of all) run(expert, piece)
      },
    }
  },

  work(call) {
    const [, x, , ...rest] = call.inputs as [KernelTensor, KernelTensor, KernelTensor, ...KernelTensor[]]
    const { gate, experts, width, hidden } = weightsOf(call, rest)
    const rows = x.shape[0] as number
    const matrices = gate ? 3 : 2
    return {
      flops: 4 * matrices * rows * width * hidden,
      bytes: 4 * (2 * matrices * experts * width * hidden + 3 * rows * width + (matrices - 1) * rows * hidden),
    }
  },
}
