/**
 * Matrix products. In a batch, each matrix is a task. A single product, or a batch with fewer matrices than threads, is
 * cut into bands: along the longer side of the result if results may have gaps between rows, else along the rows. Every
 * band reads a band of one factor and all of the other.
 */
import * as declared from '../../../../core/graph/kernels/products.ts'
import type { Product } from '../../primitives/primitives.ts'
import { implement, type KernelCall, type KernelTensor } from '../contract.ts'
import { addressAt, elementBytes, isHalf } from './floats.ts'

/** Number of rows or columns of which bands are multiples: whole tiles of the matrix units. */
const TILE = 32
/** Number of bands for each thread, so that no thread waits long for another. */
const BANDS_OF_THREAD = 4
/** Fewest rows or columns of a band, if there are more bands than the threads need. */
const WIDE_BAND = 128

export const matmul = implement(declared.matmul, {
  provider: 'primitives',
  halves: { inputs: ['a', 'b'], outputs: ['c'] },
  prepare(call, { primitives, threads }) {
    const { batch, m, k, n, a, b, c, addend, alpha, transposeA, transposeB } = parts(call)
    const byRows = m >= n || !primitives.stridedResults
    const side = byRows ? m : n
    const least = batch >= threads ? 1 : Math.ceil(threads / batch)
    const bands = bandsOf(side, Math.max(least, Math.min(BANDS_OF_THREAD * least, Math.floor(side / WIDE_BAND))))
    const plus = addend && (addend.address === c.address ? 'c' : n)
    const products = bands.map(
      ({ length }): Product => ({
        m: byRows ? length : m,
        k,
        n: byRows ? n : length,
        a: { stride: transposeA ? m : k, transposed: transposeA, prepared: isHalf(a) },
        b: { stride: transposeB ? k : n, transposed: transposeB, prepared: isHalf(b) },
        c: n,
        half: isHalf(c),
        alpha,
        ...(plus !== undefined && { plus }),
      }),
    )
    return {
      tasks: batch * bands.length,
      run(task) {
        const matrix = Math.floor(task / bands.length)
        const band = task % bands.length
        const from = bands[band]?.from as number
        const fromA = byRows ? from * (transposeA ? 1 : k) : 0
        const fromB = byRows ? 0 : from * (transposeB ? k : 1)
        const fromC = byRows ? from * n : from
        const of = (tensor: KernelTensor, size: number, start: number) => addressAt(tensor, matrix * size + start)
        primitives
          .product(products[band] as Product)
          .run(
            of(a, m * k, fromA),
            of(b, k * n, fromB),
            of(c, m * n, fromC),
            ...(typeof plus === 'number' && addend ? [of(addend, m * n, fromC)] : []),
          )
      },
    }
  },

  work(call) {
    const { batch, m, k, n, a, b, c, addend } = parts(call)
    return {
      flops: 2 * batch * m * k * n,
      bytes: batch * (elementBytes(a) * m * k + elementBytes(b) * k * n + (elementBytes(c) + (addend ? 4 : 0)) * m * n),
    }
  },
})

function parts({ attributes, inputs: { a, b }, outputs: { c }, addends }: KernelCall<typeof declared.matmul>) {
  const [transposeA, transposeB] = [attributes.transA === 1, attributes.transB === 1]
  const [m = 0, n = 0] = c.shape.slice(-2)
  const k = a.shape.at(transposeA ? -2 : -1) as number
  const batch = c.size / (m * n)
  return { batch, m, k, n, a, b, c, addend: addends.c, alpha: attributes.alpha.float, transposeA, transposeB }
}

/** Cuts `count` into at most `parts` nearly equal bands of whole tiles (except the last). No band is empty. */
export function bandsOf(
  count: number,
  parts: number,
  tile = TILE,
): { readonly from: number; readonly length: number }[] {
  // The remainder goes to the last band: a separate band could be a single row.
  const tiles = Math.max(1, Math.floor(count / tile))
  const bands = Math.min(parts, tiles)
  const bound = (band: number) => (band === bands ? count : Math.round((tiles * band) / bands) * tile)
  return Array.from({ length: bands }, (_, band) => ({ from: bound(band), length: bound(band + 1) - bound(band) }))
}
