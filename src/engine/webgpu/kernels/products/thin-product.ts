/**
 * A vector times a matrix, or a matrix times a vector: each number of the matrix is used once, so that only reading it
 * fast matters. A workgroup computes several results, and several invocations share the sum of each.
 */
import { type Dispatch, rowsOf, WORKGROUP, workgroupMain } from '../contract.ts'
import { readFour } from './floats.ts'
import { type Output, productDispatch, withLines } from './output.ts'
import { type Matrices, offsetOf, type Product } from './product.ts'
import { ENOUGH_WORKGROUPS } from './product-tiles.ts'

/** A thin product: its results x [outer] are sums of matrix · vector over the inner dimension. */
interface Thin {
  readonly batch: readonly number[]
  readonly outer: number
  readonly inner: number
  readonly matrix: Matrices
  readonly vector: Matrices
  readonly outerStride: number
  readonly innerStride: number
}

/** The thin product of a call; null if the product is not thin, or if its vector is scattered. */
function thinOf({ batch, m, n, k: inner, a, b }: Product): Thin | null {
  if (m === 1 && (a.columnStride === 1 || inner === 1))
    return { batch, outer: n, inner, matrix: b, vector: a, outerStride: b.columnStride, innerStride: b.rowStride }
  if (n === 1 && (b.rowStride === 1 || inner === 1))
    return { batch, outer: m, inner, matrix: a, vector: b, outerStride: a.rowStride, innerStride: a.columnStride }
  return null
}

/** Number of workgroups that keep memory busy: it is far away, so it needs more workgroups than cores do. */
const ENOUGH_READERS = 4 * ENOUGH_WORKGROUPS

/** Minimum number of steps of an invocation, so that the time of adding up at the end does not matter. */
const MIN_STEPS = 16

/** How a thin product is shared out. */
interface Cut {
  /** Number of invocations that share a sum. */
  readonly shares: number
  /** Number of results of a workgroup. */
  readonly results: number
  /** Number of inner elements that a share takes at once. */
  readonly step: number
}

function cutOf({ outer, inner, innerStride }: Thin): Cut {
  if (innerStride === 1) {
    const shares = Math.min(WORKGROUP, 2 ** Math.floor(Math.log2(Math.max(1, inner / MIN_STEPS))))
    return { shares, results: WORKGROUP / shares, step: 4 }
  }
  const vectors = Math.min(WORKGROUP / 8, 2 ** Math.ceil(Math.log2(Math.max(1, outer / 4))))
  return { shares: WORKGROUP / vectors, results: 4 * vectors, step: 1 }
}

/** A thin product in parts of the inner dimension; null if the product is not thin. */
export function thinProduct(
  product: Product,
): { readonly parts: number; readonly dispatch: (output: Output) => Dispatch } | null {
  const thin = thinOf(product)
  if (!thin) return null
  const cut = cutOf(thin)
  const matrices = thin.batch.reduce((count, d) => count * d, 1)
  const groups = Math.ceil(thin.outer / cut.results) * matrices
  const most = Math.floor(thin.inner / (MIN_STEPS * cut.shares * cut.step))
  const wanted = Math.max(1, Math.min(Math.ceil(ENOUGH_READERS / groups), most))
  // A part is a whole number of steps, so that vectors of the matrix are not cut.
  const length = cut.step * Math.ceil(thin.inner / wanted / cut.step)
  const parts = Math.ceil(thin.inner / length)
  return { parts, dispatch: (output) => thinDispatch(thin, cut, matrices, { parts, length }, output) }
}

function thinDispatch(
  thin: Thin,
  cut: Cut,
  matrices: number,
  { parts, length }: { readonly parts: number; readonly length: number },
  output: Output,
): Dispatch {
  const { batch, outer, inner, matrix, vector } = thin
  const byRow = thin.innerStride === 1
  const blocks = Math.ceil(outer / cut.results)
  const jobs = blocks * matrices * parts
  return productDispatch({
    name: 'thin product',
    workgroups: rowsOf(jobs),
    factors: { matrix: matrix.lines, vector: { ...vector.lines, line: byRow ? inner : 1 } },
    output: byRow ? withLines(output, 1) : output,
    code: (arrays, put) => `
${readFour('read_matrix', arrays.matrix)}
${readFour('read_vector', arrays.vector)}
${put}
${(byRow ? rowSum : columnSums)(thin, cut)}
${workgroupMain(jobs)} {
  let block = row % ${blocks}u;
  let part = row / ${blocks}u % ${parts}u;
  let matrix = row / ${blocks * parts}u;
  let begin = part * ${length}u;
  let end = min(begin + ${length}u, ${inner}u);
  let matrix_at = ${offsetOf('matrix', batch, matrix.batchStrides)};
  let vector_at = ${offsetOf('matrix', batch, vector.batchStrides)};
  let result_at = (part * ${matrices}u + matrix) * ${outer}u;
  thin(block, local, matrix_at, vector_at, result_at, begin, end);
}`,
  })
}

const SIGNATURE =
  'fn thin(block: u32, local: u32, matrix_at: u32, vector_at: u32, result_at: u32, begin: u32, end: u32)'

/** WGSL for memory that runs along the sum: neighbouring invocations read neighbouring vectors of a line. */
const rowSum = ({ outer, inner, outerStride }: Thin, { shares, results }: Cut): string => `
var<workgroup> sums: array<f32, ${WORKGROUP}>;

${SIGNATURE} {
  let x = block * ${results}u + local / ${shares}u;
  let share = local % ${shares}u;
  var sum = vec4<f32>();
  if (x < ${outer}u) {
    let line = matrix_at + x * ${outerStride}u;
    for (var inner = begin + 4u * share; inner < end; inner += ${4 * shares}u) {
      let count = end - inner;
      let terms = read_matrix(line + inner, count) * read_vector(vector_at + inner, count);
      sum += ${inner % 4 === 0 ? 'terms' : 'select(vec4<f32>(), terms, vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(count))'};
    }
  }
  sums[local] = (sum.x + sum.y) + (sum.z + sum.w);
  workgroupBarrier();
  for (var half = ${shares}u / 2u; half > 0u; half /= 2u) {
    if (share < half) { sums[local] += sums[local + half]; }
    workgroupBarrier();
  }
  if (share == 0u && x < ${outer}u) { put(result_at + x, 1u, vec4<f32>(sums[local])); }
}`

/** WGSL for memory that runs along the results: an invocation has four results, and adds every line of its share. */
const columnSums = ({ outer, innerStride }: Thin, { shares, results }: Cut): string => `
var<workgroup> sums: array<vec4<f32>, ${WORKGROUP}>;

${SIGNATURE} {
  let x = block * ${results}u + 4u * (local % ${results / 4}u);
  let share = local / ${results / 4}u;
  let count = ${outer}u - x;
  var sum = vec4<f32>();
  if (x < ${outer}u) {
    for (var inner = begin + share; inner < end; inner += ${shares}u) {
      let factor = vec4<f32>(read_vector(vector_at + inner, 1u).x);
      sum = fma(factor, read_matrix(matrix_at + inner * ${innerStride}u + x, count), sum);
    }
  }
  sums[local] = sum;
  workgroupBarrier();
  for (var half = ${WORKGROUP / 2}u; half >= ${results / 4}u; half /= 2u) {
    if (local < half) { sums[local] += sums[local + half]; }
    workgroupBarrier();
  }
  if (share == 0u && x < ${outer}u) { put(result_at + x, count, sums[local]); }
}`
