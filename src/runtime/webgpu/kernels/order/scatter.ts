/** ONNX `ScatterElements`. */
import { type Dispatch, gridOf, type Kernel, linearMain, type Operand } from '../../contract.ts'
import { axisView, bytesOf, elementOf } from '../views.ts'
import { addSorted, elementMain, type Scatter } from './scatter-sorted.ts'

/** Up to so many updates of a line, each element looks at all of them. */
const FEW = 64

/**
 * Inputs data, indices, updates; attributes `axis`, and `reduction`: `add`, or none. The result is data with the
 * updates set or added at their indices along the axis; an index out of range has no effect. Sums are in the order of
 * the updates. Without a reduction, indices of a line must be distinct: an element with several updates gets any of
 * them, and not always the same.
 */
export const scatterElements: Kernel = {
  lower({ attributes: { axis = 0, reduction = 'none' }, inputs }) {
    const [data, indices, updates] = inputs as readonly [Operand, Operand, Operand]
    if (typeof axis !== 'number' || (reduction !== 'add' && reduction !== 'none'))
      throw new Error(`internal: ScatterElements with axis=${axis}, reduction=${reduction}`)
    const { outer, length: rows, inner } = axisView(data, axis)
    const view = axisView(indices, axis)
    if (updates.size !== indices.size || view.outer !== outer || view.inner !== inner)
      throw new Error(`internal: ScatterElements of [${indices.shape.join(', ')}] into [${data.shape.join(', ')}]`)
    const scatter = { type: elementOf(data), outer, rows, updates: view.length, inner }
    if (data.size === 0) return { dispatches: [] }
    if (updates.size === 0) return { dispatches: [copy(scatter)] }
    if (view.length <= FEW) return { dispatches: [lookAtAll(scatter, reduction === 'add' ? '+=' : '=')] }
    return reduction === 'add' ? addSorted(scatter) : { dispatches: [copy(scatter), setAll(scatter)] }
  },
  work: (call) => ({ flops: (call.inputs[2] as Operand).size, bytes: bytesOf(call) }),
}

const lookAtAll = (scatter: Scatter, assign: '=' | '+='): Dispatch => ({
  name: 'ScatterElements',
  operands: [{ input: 0 }, { input: 1 }, { input: 2 }, { output: 0 }],
  workgroups: gridOf(scatter.outer * scatter.rows * scatter.inner),
  code: ([data, indices, updates, y]) => `
${elementMain(scatter)}
  var value = ${data}[index];
  for (var u = 0u; u < ${scatter.updates}u; u++) {
    let at = (o * ${scatter.updates}u + u) * ${scatter.inner}u + i;
    if (${indices}[at] == i32(r)) { value ${assign} ${updates}[at]; }
  }
  ${y}[index] = value;
}`,
})

const copy = ({ outer, rows, inner }: Scatter): Dispatch => ({
  name: 'ScatterElements (copy)',
  operands: [{ input: 0 }, { output: 0 }],
  workgroups: gridOf(outer * rows * inner),
  code: ([data, y]) => `
${linearMain(outer * rows * inner)} {
  ${y}[index] = ${data}[index];
}`,
})

const setAll = ({ outer, rows, updates: count, inner }: Scatter): Dispatch => ({
  name: 'ScatterElements (set)',
  operands: [{ input: 1 }, { input: 2 }, { output: 0 }],
  workgroups: gridOf(outer * count * inner),
  code: ([indices, updates, y]) => `
${linearMain(outer * count * inner)} {
  let o = index / ${count * inner}u;
  let r = u32(${indices}[index]);
  if (r < ${rows}u) {
    ${y}[(o * ${rows}u + r) * ${inner}u + index % ${inner}u] = ${updates}[index];
  }
}`,
})
