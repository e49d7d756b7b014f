/** ONNX `ScatterElements`. */
import { type Dispatch, gridOf, type Kernel, linearMain, type Operand } from '../../contract.ts'
import { dispatchOf } from '../dispatch.ts'
import { bytesOf } from '../vectors.ts'
import { axisView, elementOf } from '../views.ts'
import { addSorted, elementMain, type Scatter } from './scatter-sorted.ts'

/** Up to so many updates of a line, each element looks at all of them. */
const FEW = 64

/**
 * Inputs data, indices, updates, or with the attribute `fill` indices and updates, for data that are this number;
 * attributes `axis`, and `reduction`: `add`, or none. The result is data with the updates set or added at their indices
 * along the axis; an index out of range has no effect. Sums are in the order of the updates. Without a reduction,
 * indices of a line must be distinct: an element with several updates gets any of them, and not always the same.
 */
export const scatterElements: Kernel = {
  lower({ attributes: { axis = 0, reduction = 'none', fill }, inputs, outputs }) {
    const [indices, updates] = inputs.slice(-2) as [Operand, Operand]
    const [y] = outputs as readonly [Operand]
    if (typeof axis !== 'number' || (reduction !== 'add' && reduction !== 'none'))
      throw new Error(`internal: ScatterElements with axis=${axis}, reduction=${reduction}`)
    const { outer, length: rows, inner } = axisView(y, axis)
    const view = axisView(indices, axis)
    if (updates.size !== indices.size || view.outer !== outer || view.inner !== inner)
      throw new Error(`internal: ScatterElements of [${indices.shape.join(', ')}] into [${y.shape.join(', ')}]`)
    const type = elementOf(y)
    const isFilled = fill !== undefined
    const scatter: Scatter = {
      ...{ type, outer, rows, updates: view.length, inner },
      places: {
        data: isFilled ? undefined : { input: 0 },
        indices: { input: isFilled ? 0 : 1 },
        from: { input: isFilled ? 1 : 2 },
      },
      before: (data) => (isFilled ? `${type}(${(fill as { float: number }).float})` : `${data}[index]`),
    }
    if (y.size === 0) return { dispatches: [] }
    if (updates.size === 0) return { dispatches: [copy(scatter)] }
    if (view.length <= FEW) return { dispatches: [lookAtAll(scatter, reduction === 'add' ? '+=' : '=')] }
    return reduction === 'add' ? addSorted(scatter) : { dispatches: [copy(scatter), setAll(scatter)] }
  },
  work: ({ inputs, outputs }) => ({ flops: (inputs.at(-1) as Operand).size, bytes: bytesOf(...inputs, ...outputs) }),
}

const lookAtAll = (scatter: Scatter, assign: '=' | '+='): Dispatch =>
  dispatchOf({
    name: 'ScatterElements',
    operands: { ...scatter.places, y: { output: 0 } },
    workgroups: gridOf(scatter.outer * scatter.rows * scatter.inner),
    code: ({ data, indices, from, y }) => `
${elementMain(scatter)}
  var value = ${scatter.before(data)};
  for (var u = 0u; u < ${scatter.updates}u; u++) {
    let at = (o * ${scatter.updates}u + u) * ${scatter.inner}u + i;
    if (${indices}[at] == i32(r)) { value ${assign} ${from}[at]; }
  }
  ${y}[index] = value;
}`,
  })

const copy = ({ outer, rows, inner, places: { data }, before }: Scatter): Dispatch =>
  dispatchOf({
    name: 'ScatterElements (copy)',
    operands: { data, y: { output: 0 } },
    workgroups: gridOf(outer * rows * inner),
    code: ({ data, y }) => `
${linearMain(outer * rows * inner)} {
  ${y}[index] = ${before(data)};
}`,
  })

const setAll = ({ outer, rows, updates: count, inner, places: { indices, from } }: Scatter): Dispatch =>
  dispatchOf({
    name: 'ScatterElements (set)',
    operands: { indices, from, y: { output: 0 } },
    workgroups: gridOf(outer * count * inner),
    code: ({ indices, from, y }) => `
${linearMain(outer * count * inner)} {
  let o = index / ${count * inner}u;
  let r = u32(${indices}[index]);
  if (r < ${rows}u) {
    ${y}[(o * ${rows}u + r) * ${inner}u + index % ${inner}u] = ${from}[index];
  }
}`,
  })
