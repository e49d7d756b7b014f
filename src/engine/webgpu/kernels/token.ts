/**
 * Kernels of the next tokens of a few texts. They read every active weight once and do little else, so only two things count: many
 * invocations read at once, and neighbours read neighbouring memory.
 */
import * as declared from '../../../core/graph/kernels/token.ts'
import { dim } from '../../../core/graph/shape.ts'
import {
  type Dispatch,
  gridOf,
  implement,
  linearMain,
  type Operand,
  rowsOf,
  WORKGROUP,
  workgroupMain,
} from './contract.ts'
import { dispatchOf } from './dispatch.ts'
import { geluCode, swishCode } from './math.ts'
import { lanesOf, reduction } from './reduce.ts'
import { powerOfTwo } from './views.ts'

/** Size of the workgroups of kernels with a few thousand invocations: small, so that more processors take part. */
const SMALL_GROUP = 64

/** The vector of elements of a row of w that are loaded at once. An empty matrix has no memory for a vector. */
const vectorOf = (rows: number, width: number) =>
  rows * width > 0 && width % 4 === 0 ? ({ size: 4, type: 'vec4<f32>' } as const) : ({ size: 1, type: 'f32' } as const)

const dimsOf = ({ shape }: Operand): readonly [number, number] => [dim(shape, -2), dim(shape, -1)]

export const rowProduct = implement(declared.rowProduct, {
  lower({ inputs: { x, w }, outputs: { parts } }) {
    if (parts.size === 0) return []
    return [partialProducts('row-product', { rows: x, matrices: w, parts, count: dim(x.shape, 0) })]
  },
  work: ({ inputs: { x, w } }) => ({ flops: 2 * dim(x.shape, 0) * w.size, bytes: 4 * w.size }),
})

export const expertRowProduct = implement(declared.expertRowProduct, {
  lower({ inputs, outputs: { parts } }) {
    if (parts.size === 0) return []
    return [partialProducts('expert-row-product', { ...inputs, parts, count: inputs.experts.size })]
  },
  // The counts include only the matrices of the chosen experts.
  work({ inputs: { experts, matrices } }) {
    const active = (experts.size * matrices.size) / dim(matrices.shape, 0)
    return { flops: 2 * active, bytes: 4 * active }
  },
})

interface PartialProducts {
  /** Rows, each for as many products. */
  readonly rows: Operand
  readonly matrices: Operand
  readonly parts: Operand
  /** Number of products. */
  readonly count: number
  /** The index of the matrix of each product, if there are several matrices. */
  readonly experts?: Operand
}

/**
 * Writes Σ x[r]·w[r, ·] over the rows of each part. A workgroup has some columns of a part; its invocations share rows
 * and columns. Parts have nearly equal numbers of rows.
 */
function partialProducts(name: string, { rows, matrices, parts: y, count, experts }: PartialProducts): Dispatch {
  const [inner, columns] = dimsOf(matrices)
  const parts = dimsOf(y)[0] / count
  const perRow = count / dimsOf(rows)[0]
  const vector = vectorOf(inner, columns)
  const vectors = columns / vector.size
  // A workgroup reads 256 bytes of a row, or 128: whole cache lines, and many lanes are left to share the rows.
  const columnLanes = Math.min(vector.size === 4 ? 16 : 32, powerOfTwo(vectors))
  const lanes = WORKGROUP / columnLanes
  const tiles = Math.ceil(vectors / columnLanes)
  const groups = count * parts * tiles
  return dispatchOf({
    name,
    operands: { x: rows, w: { of: matrices, as: vector.type }, y: { of: y, as: vector.type }, experts },
    workgroups: rowsOf(groups),
    code: ({ x, w, y, experts }) => `
${reduction({ name: 'sum_of_rows', type: vector.type, lanes, stride: columnLanes })}
${workgroupMain(groups)} {
  let column = row % ${tiles}u * ${columnLanes}u + local % ${columnLanes}u;
  let part = row / ${tiles}u % ${parts}u;
  let product = row / ${tiles * parts}u;
  let lane = local / ${columnLanes}u;
  var sum = ${vector.type}();
  if (column < ${vectors}u) {
    let x_first = product / ${perRow}u * ${inner}u;
    let w_first = ${experts ? `u32(${experts}[product]) * ${inner}u` : '0u'};
    let end = ${inner}u * (part + 1u) / ${parts}u;
    for (var r = ${inner}u * part / ${parts}u + lane; r < end; r += ${lanes}u) {
      sum += ${x}[x_first + r] * ${w}[(w_first + r) * ${vectors}u + column];
    }
  }
  let all = sum_of_rows(sum, local);
  if (lane == 0u && column < ${vectors}u) { ${y}[(product * ${parts}u + part) * ${vectors}u + column] = all; }
}`,
  })
}

export const rowProductTransposed = implement(declared.rowProductTransposed, {
  lower({ inputs: { x, w }, outputs: { y } }) {
    const [count, inner] = dimsOf(w)
    if (count === 0) return []
    const { type: as, size } = vectorOf(count, inner)
    const vectors = inner / size
    const lanes = lanesOf(vectors, 32)
    const rows = WORKGROUP / lanes
    const groups = Math.ceil(count / rows)
    const texts = dim(x.shape, 0)
    const product = dispatchOf({
      name: 'row-product-transposed',
      operands: { x: { of: x, as }, w: { of: w, as }, y },
      workgroups: rowsOf(texts * groups),
      code: ({ x, w, y }) => `
${reduction({ name: 'sum_of_row', lanes })}
${workgroupMain(texts * groups)} {
  let lane = local % ${lanes}u;
  let text = row / ${groups}u;
  let line = row % ${groups}u * ${rows}u + local / ${lanes}u;
  var sum = ${as}();
  if (line < ${count}u) {
    for (var i = lane; i < ${vectors}u; i += ${lanes}u) { sum += ${x}[text * ${vectors}u + i] * ${w}[line * ${vectors}u + i]; }
  }
  let all = sum_of_row(${size === 4 ? 'dot(sum, vec4<f32>(1.0))' : 'sum'}, local);
  if (lane == 0u && line < ${count}u) { ${y}[text * ${count}u + line] = all; }
}`,
    })
    return [product]
  },
  work: ({ inputs: { x, w } }) => ({ flops: 2 * dim(x.shape, 0) * w.size, bytes: 4 * w.size }),
})

export const sumParts = implement(declared.sumParts, {
  lower({ inputs: { parts, weights }, outputs: { sum }, addends }) {
    if (sum.size === 0) return []
    const [count, columns] = dimsOf(parts)
    const perRow = count / dim(sum.shape, 0)
    const perGroup = weights ? count / weights.size : perRow
    const add = dispatchOf({
      name: 'sum-parts',
      operands: { parts, y: sum, weights, addend: addends.sum },
      workgroups: gridOf(sum.size, SMALL_GROUP),
      code: ({ parts, y, weights, addend }) => `
${linearMain(sum.size, SMALL_GROUP)} {
  let first = index / ${columns}u * ${perRow}u;
  var sum = ${addend ? `${addend}[index]` : '0.0'};
  for (var part = first; part < first + ${perRow}u; part++) {
    sum += ${weights && `${weights}[part / ${perGroup}u] * `}${parts}[part * ${columns}u + index % ${columns}u];
  }
  ${y}[index] = sum;
}`,
    })
    return [add]
  },
})

export const activateParts = implement(declared.activateParts, {
  lower({ inputs: { up, gate }, outputs: { active } }) {
    const { size } = active
    if (size === 0) return []
    const [groups, columns] = dimsOf(active)
    const perGroup = dimsOf(up)[0] / groups
    const sumOf = (from: string) => `
  for (var i = 0u; i < ${perGroup}u; i++) { sum += ${from}[first + i * ${columns}u]; }`
    const activate = dispatchOf({
      name: 'activate-parts',
      operands: { up, active, gate },
      workgroups: gridOf(size, SMALL_GROUP),
      code: ({ up, active, gate }) => `
${gate ? swishCode('f32') : geluCode('f32')}
${linearMain(size, SMALL_GROUP)} {
  let first = index / ${columns}u * ${perGroup * columns}u + index % ${columns}u;
  var sum = 0.0;
  ${sumOf(up)}
  ${gate ? `let value = sum; sum = 0.0; ${sumOf(gate)}` : ''}
  ${active}[index] = ${gate ? 'swish(sum) * value' : 'gelu(sum)'};
}`,
    })
    return [activate]
  },
})
