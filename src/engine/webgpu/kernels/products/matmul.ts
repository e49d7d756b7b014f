/**
 * Matrix products: `matmul` of the graph, `MatMul` of ONNX and `FusedMatMul` of ONNX Runtime. Products with a vector go
 * to `thin-product.ts`; all others are computed in tiles. If there are few tiles and a long sum, as for gradients of
 * weights, several workgroups share the sum, and a second dispatch adds their parts in a fixed order.
 */
import * as declared from '../../../../core/graph/kernels/products.ts'
import { sizeOf } from '../../../../core/graph/shape.ts'
import { type Dispatch, implement, rowsOf, scratch } from '../contract.ts'
import { bytesOfCall } from '../vectors.ts'
import { emptySums, type Output, productDispatch, sumOutput, sumParts } from './output.ts'
import { offsetOf, type Product, type ProductCall, productOf } from './product.ts'
import { ENOUGH_WORKGROUPS, productCode, TILES, type Tile } from './product-tiles.ts'
import { thinProduct } from './thin-product.ts'

const implementation = {
  lower(call: ProductCall): Dispatch[] {
    const product = productOf(call)
    const size = product.m * product.n * sizeOf(product.batch)
    if (size === 0) return []
    if (product.k === 0) return [emptySums(size, product.output)]
    const thin = thinProduct(product)
    return thin ? inParts(product, thin.parts, thin.dispatch) : tiledMatmul(product, tilingOf(product))
  },

  work(call: ProductCall) {
    const { batch, m, n, k } = productOf(call)
    return { flops: 2 * sizeOf(batch) * m * n * k, bytes: bytesOfCall(call) }
  },
}

export const matmul = implement(declared.matmul, {
  ...implementation,
  halves: { inputs: 'all', outputs: ['c'] },
  scales: ['c'],
})

const operator = (name: 'MatMul' | 'FusedMatMul') =>
  implement({ name, inputs: ['a', 'b'], outputs: ['c'] }, implementation)

export const onnxMatmul = operator('MatMul')
export const fusedMatmul = operator('FusedMatMul')

/** How a product is cut into tiles and parts. */
export interface Tiling {
  readonly tile: Tile
  /** Number of parts of the sum. */
  readonly parts: number
}

/** Minimum number of terms of a part, so that writing and adding the parts costs little. */
const MIN_TERMS = 256

/**
 * The most efficient tile that gives every core something to do, if need be with the sum in parts. Tiles that reach far
 * beyond the matrix are not efficient.
 */
export function tilingOf({ batch, m, n, k }: Pick<Product, 'batch' | 'm' | 'n' | 'k'>): Tiling {
  const tilings = TILES.map((tile) => {
    const tiles = Math.ceil(m / tile.rows) * Math.ceil(n / tile.columns)
    const workgroups = tiles * sizeOf(batch)
    const parts = Math.max(1, Math.min(Math.ceil(ENOUGH_WORKGROUPS / workgroups), Math.floor(k / MIN_TERMS)))
    return { tile, parts, workgroups: workgroups * parts, area: tiles * tile.rows * tile.columns }
  })
  const smallest = tilings.at(-1) as (typeof tilings)[number]
  const fits = ({ workgroups, area }: (typeof tilings)[number]) =>
    workgroups >= ENOUGH_WORKGROUPS && area <= 1.25 * smallest.area
  const { tile, parts } = tilings.find(fits) ?? smallest
  return { tile, parts }
}

export function tiledMatmul(product: Product, { tile, parts: wanted }: Tiling): Dispatch[] {
  const length = tile.inner * Math.ceil(product.k / wanted / tile.inner)
  const parts = Math.ceil(product.k / length)
  return inParts(product, parts, (output) => tiledDispatch(product, tile, { parts, length }, output))
}

/** Computes a product in parts; several parts of a sum go through scratch memory. */
function inParts({ batch, m, n, output }: Product, parts: number, main: (output: Output) => Dispatch): Dispatch[] {
  if (parts === 1) return [main(output)]
  const size = sizeOf(batch) * m * n
  const partial = { of: scratch('float32', [parts, size]), line: n }
  return [main(sumOutput({ to: partial })), sumParts(partial, parts, size, output)]
}

/**
 * Height of a band in tiles: workgroups that run at the same time share rows of the left factor and columns of the
 * right factor.
 */
const BAND = 8

function tiledDispatch(
  { batch, m, n, k, a, b, rounds }: Product,
  tile: Tile,
  { parts, length }: { readonly parts: number; readonly length: number },
  output: Output,
): Dispatch {
  const [down, across] = [Math.ceil(m / tile.rows), Math.ceil(n / tile.columns)]
  const jobs = down * across * sizeOf(batch) * parts
  return productDispatch({
    name: `product ${tile.rows}×${tile.columns}`,
    workgroups: rowsOf(jobs),
    factors: { left: a.lines, right: b.lines },
    output,
    code: ({ left, right }, put) =>
      productCode({
        tile,
        left: { ...left, ...memoryOf(a.columnStride, a.rowStride) },
        right: { ...right, ...memoryOf(b.rowStride, b.columnStride) },
        columns: n,
        rounds,
        jobs,
        job: `
fn job_of(index: u32) -> Job {
  let part = index / ${down * across}u % ${parts}u;
  let matrix = index / ${down * across * parts}u;
  let tile = index % ${down * across}u;
  let band = ${BAND}u * (tile / ${BAND * across}u);
  let height = min(${BAND}u, ${down}u - band);
  let in_band = tile % ${BAND * across}u;
  var job: Job;
  job.left = ${offsetOf('matrix', batch, a.batchStrides)};
  job.right = ${offsetOf('matrix', batch, b.batchStrides)};
  job.result = (part * ${sizeOf(batch)}u + matrix) * ${m * n}u;
  job.row = ${tile.rows}u * (band + in_band % height);
  job.rows = ${m}u;
  job.column = ${tile.columns}u * (in_band / height);
  return job;
}`,
        inner: `
fn inner_of(index: u32, local: u32) -> vec2<u32> {
  let begin = index / ${down * across}u % ${parts}u * ${length}u;
  return vec2<u32>(begin, min(begin + ${length}u, ${k}u));
}`,
        wholeSteps: k % tile.inner === 0,
        finish: `${put}
fn finish(job: Job, row: u32, column: u32, value: vec4<f32>) {
  put(job.result + row * ${n}u + column, ${n}u - column, value);
}`,
      }),
  })
}

/** The direction in which memory runs, and the distance of its lines, from the strides of the two dimensions. */
const memoryOf = (inner: number, outer: number) =>
  inner === 1 ? ({ along: 'inner', stride: outer } as const) : ({ along: 'outer', stride: inner } as const)
