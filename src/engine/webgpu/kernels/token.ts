/**
 * Kernels of a single token. They read every active weight once and do little else, so all that counts is that many
 * invocations read at once, neighbours next to each other.
 */
import {
  type Dispatch,
  gridOf,
  type Kernel,
  type KernelCall,
  linearMain,
  type Operand,
  rowsOf,
  WORKGROUP,
  workgroupMain,
} from '../contract.ts'
import { geluCode, swishCode } from './math.ts'
import { lanesOf, reduction } from './reduce.ts'
import { powerOfTwo } from './views.ts'

/** Workgroups of kernels with a few thousand invocations are small, so that more processors take part. */
const SMALL_GROUP = 64

/** Elements of a row of w that are loaded at once. An empty matrix has no memory for a vector. */
const vectorOf = (rows: number, width: number) =>
  rows * width > 0 && width % 4 === 0 ? ({ size: 4, type: 'vec4<f32>' } as const) : ({ size: 1, type: 'f32' } as const)

const dimsOf = ({ shape }: Operand): readonly [number, number] => [shape.at(-2) as number, shape.at(-1) as number]

/** Inputs x [1, K], w [K, N]; output partial sums of x·w [P, N], each over some rows of w. */
export const rowProduct: Kernel = {
  lower({ inputs, outputs }) {
    const [, w] = inputs as readonly [Operand, Operand]
    const [y] = outputs as readonly [Operand]
    if (y.size === 0) return { dispatches: [] }
    const [inner, columns] = dimsOf(w)
    const [parts] = dimsOf(y)
    const products = { inner, columns, parts, count: 1, chosen: false, rowEach: false }
    return { dispatches: [partialProducts('row-product', products)] }
  },
  work: ({ inputs: [, w] }) => ({ flops: 2 * (w as Operand).size, bytes: 4 * (w as Operand).size }),
}

/**
 * Inputs rows [1, D] or [K, D], experts int32 [1, K], a matrix of each expert [N, D, F]; output partial sums of the
 * products of the rows with the matrices of the chosen experts [K·P, F].
 */
export const expertRowProduct: Kernel = {
  lower({ inputs, outputs }) {
    const [x, experts, matrices] = inputs as readonly [Operand, Operand, Operand]
    const [y] = outputs as readonly [Operand]
    if (y.size === 0) return { dispatches: [] }
    const [inner, columns] = dimsOf(matrices)
    const count = experts.size
    const parts = dimsOf(y)[0] / count
    const products = { inner, columns, parts, count, chosen: true, rowEach: dimsOf(x)[0] > 1 }
    return { dispatches: [partialProducts('expert-row-product', products)] }
  },
  // Counts the matrices of the chosen experts.
  work({ inputs: [, experts, matrices] }: KernelCall) {
    const { size, shape } = matrices as Operand
    const active = ((experts as Operand).size * size) / (shape[0] as number)
    return { flops: 2 * active, bytes: 4 * active }
  },
}

interface PartialProducts {
  /** Rows of a matrix. */
  readonly inner: number
  readonly columns: number
  /** Near-equal parts of the rows. */
  readonly parts: number
  readonly count: number
  /** Whether there are several matrices, chosen by experts; they are the second input then. */
  readonly chosen: boolean
  /** Whether each product has its own row x. */
  readonly rowEach: boolean
}

/** Σ x[r]·w[r, ·] over the rows of a part, for some columns: the invocations of a workgroup share rows and columns. */
function partialProducts(name: string, products: PartialProducts): Dispatch {
  const { inner, columns, parts, count, chosen, rowEach } = products
  const vector = vectorOf(inner, columns)
  const vectors = columns / vector.size
  // Rows of 256 bytes, or 128: whole cache lines, and many lanes to share the rows.
  const columnLanes = Math.min(vector.size === 4 ? 16 : 32, powerOfTwo(vectors))
  const lanes = WORKGROUP / columnLanes
  const tiles = Math.ceil(vectors / columnLanes)
  const groups = count * parts * tiles
  return {
    name,
    operands: [
      { input: 0 },
      { input: chosen ? 2 : 1, as: vector.type },
      { output: 0, as: vector.type },
      ...(chosen ? [{ input: 1 }] : []),
    ],
    workgroups: rowsOf(groups),
    code: ([x, w, y, experts]) => `
${reduction({ name: 'sum_of_rows', type: vector.type, lanes, stride: columnLanes })}
${workgroupMain(groups)} {
  let column = row % ${tiles}u * ${columnLanes}u + local % ${columnLanes}u;
  let part = row / ${tiles}u % ${parts}u;
  let product = row / ${tiles * parts}u;
  let lane = local / ${columnLanes}u;
  var sum = ${vector.type}();
  if (column < ${vectors}u) {
    let x_first = ${rowEach ? `product * ${inner}u` : '0u'};
    let w_first = ${chosen ? `u32(${experts}[product]) * ${inner}u` : '0u'};
    let end = ${inner}u * (part + 1u) / ${parts}u;
    for (var r = ${inner}u * part / ${parts}u + lane; r < end; r += ${lanes}u) {
      sum += ${x}[x_first + r] * ${w}[(w_first + r) * ${vectors}u + column];
    }
  }
  let all = sum_of_rows(sum, local);
  if (lane == 0u && column < ${vectors}u) { ${y}[(product * ${parts}u + part) * ${vectors}u + column] = all; }
}`,
  }
}

/** Inputs x [1, K], w [N, K]; output x·wᵀ [1, N]: a dot product for each row of w. */
export const rowProductTransposed: Kernel = {
  lower({ inputs }) {
    const [, w] = inputs as readonly [Operand, Operand]
    const [count, inner] = dimsOf(w)
    if (count === 0) return { dispatches: [] }
    const vector = vectorOf(count, inner)
    const vectors = inner / vector.size
    const lanes = lanesOf(vectors, 32)
    const rows = WORKGROUP / lanes
    const groups = Math.ceil(count / rows)
    return {
      dispatches: [
        {
          name: 'row-product-transposed',
          operands: [{ input: 0, as: vector.type }, { input: 1, as: vector.type }, { output: 0 }],
          workgroups: rowsOf(groups),
          code: ([x, w, y]) => `
${reduction({ name: 'sum_of_row', lanes })}
${workgroupMain(groups)} {
  let lane = local % ${lanes}u;
  let line = row * ${rows}u + local / ${lanes}u;
  var sum = ${vector.type}();
  if (line < ${count}u) {
    for (var i = lane; i < ${vectors}u; i += ${lanes}u) { sum += ${x}[i] * ${w}[line * ${vectors}u + i]; }
  }
  let all = sum_of_row(${vector.size === 4 ? 'dot(sum, vec4<f32>(1.0))' : 'sum'}, local);
  if (lane == 0u && line < ${count}u) { ${y}[line] = all; }
}`,
        },
      ],
    }
  },
  work: ({ inputs: [, w] }) => ({ flops: 2 * (w as Operand).size, bytes: 4 * (w as Operand).size }),
}

/**
 * Inputs parts [G·P, N] (, the weight of each group of P [1, G]) (, addend [1, N]); output Σ weight · part [1, N].
 */
export const sumParts: Kernel = {
  lower({ attributes, inputs, outputs, added }) {
    const [rows, columns] = dimsOf(inputs[0] as Operand)
    const y = outputs[0] as Operand
    if (y.size === 0) return { dispatches: [] }
    const weighted = attributes.weighted === 1
    const perGroup = weighted ? rows / (inputs[1] as Operand).size : rows
    const addends = added.length > 0 ? [{ input: inputs.length - 1 }] : []
    return {
      dispatches: [
        {
          name: 'sum-parts',
          operands: [{ input: 0 }, { output: 0 }, ...(weighted ? [{ input: 1 }] : []), ...addends],
          workgroups: gridOf(columns, SMALL_GROUP),
          code: ([parts, y, ...more]) => `
${linearMain(columns, SMALL_GROUP)} {
  var sum = ${addends.length > 0 ? `${more.at(-1)}[index]` : '0.0'};
  for (var r = 0u; r < ${rows}u; r++) {
    sum += ${weighted ? `${more[0]}[r / ${perGroup}u] * ` : ''}${parts}[r * ${columns}u + index];
  }
  ${y}[index] = sum;
}`,
        },
      ],
    }
  },
}

/** Inputs parts [G·P, F] (, parts of the SwiGLU gate [G·P, F]); output gelu(Σ part), or swish(Σ gate) ∘ Σ part [G, F]. */
export const activateParts: Kernel = {
  lower({ inputs, outputs }) {
    const [parts, gate] = inputs as readonly [Operand, Operand?]
    const { size } = outputs[0] as Operand
    if (size === 0) return { dispatches: [] }
    const [groups, columns] = dimsOf(outputs[0] as Operand)
    const perGroup = dimsOf(parts)[0] / groups
    const sumOf = (from: string) => `
  for (var i = 0u; i < ${perGroup}u; i++) { sum += ${from}[first + i * ${columns}u]; }`
    return {
      dispatches: [
        {
          name: 'activate-parts',
          operands: [{ input: 0 }, { output: 0 }, ...(gate ? [{ input: 1 }] : [])],
          workgroups: gridOf(size, SMALL_GROUP),
          code: ([parts, y, gateParts]) => `
${gateParts ? swishCode('f32') : geluCode('f32')}
${linearMain(size, SMALL_GROUP)} {
  let first = index / ${columns}u * ${perGroup * columns}u + index % ${columns}u;
  var sum = 0.0;
  ${sumOf(parts as string)}
  ${gateParts ? `let value = sum; sum = 0.0; ${sumOf(gateParts)}` : ''}
  ${y}[index] = ${gateParts ? 'swish(sum) * value' : 'gelu(sum)'};
}`,
        },
      ],
    }
  },
}
