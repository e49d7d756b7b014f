/** ONNX `ScatterElements`. */
import type { Attributes } from '../../../../core/graph/kernels/declaration.ts'
import { type Dispatch, gridOf, implement, linearMain } from '../contract.ts'
import { dispatchOf } from '../dispatch.ts'
import { bytesOfCall } from '../vectors.ts'
import { axisView, elementOf, floatOf } from '../views.ts'
import { addSorted, elementMain, operandsOf, type Scatter } from './scatter-sorted.ts'

/** Maximum number of updates of a line for which each element looks at all updates. */
const FEW = 64

/**
 * The attributes are `axis`, and `reduction`, which is `add` or `none`. The result is data with the updates set or
 * added at their indices along the axis; an index out of range has no effect. Sums are in the order of the updates.
 * Without a reduction, indices of a line must be distinct: an element with several updates gets any of them, and not
 * always the same.
 */
export const scatterElements = implement(
  { name: 'ScatterElements', inputs: ['data', 'indices', 'updates'], outputs: ['y'] },
  {
    lower: ({ attributes, inputs: { data, indices, updates: from }, outputs: { y } }) =>
      scatter(attributes, { data, indices, from, y, before: (array) => `${array}[index]` }),
    work: (call) => ({ flops: call.inputs.updates.size, bytes: bytesOfCall(call) }),
  },
)

/** Does {@link scatterElements} into data that are all the number `fill`, an attribute. */
export const scatterFill = implement(
  { name: 'ScatterFill', inputs: ['indices', 'updates'], outputs: ['y'] },
  {
    lower({ attributes, inputs: { indices, updates: from }, outputs: { y } }) {
      const fill = `${elementOf(y)}(${floatOf(attributes.fill)})`
      return scatter(attributes, { data: undefined, indices, from, y, before: () => fill })
    },
    work: (call) => ({ flops: call.inputs.updates.size, bytes: bytesOfCall(call) }),
  },
)

function scatter(
  { axis = 0, reduction = 'none' }: Attributes,
  operands: Pick<Scatter, 'data' | 'indices' | 'from' | 'y' | 'before'>,
): readonly Dispatch[] {
  const { indices, from, y } = operands
  if (typeof axis !== 'number' || (reduction !== 'add' && reduction !== 'none'))
    throw new Error(`internal: ScatterElements with axis=${axis}, reduction=${reduction}`)
  const { outer, length: rows, inner } = axisView(y, axis)
  const view = axisView(indices, axis)
  if (from.size !== indices.size || view.outer !== outer || view.inner !== inner)
    throw new Error(`internal: ScatterElements of [${indices.shape.join(', ')}] into [${y.shape.join(', ')}]`)
  const all: Scatter = { ...operands, outer, rows, updates: view.length, inner }
  if (y.size === 0) return []
  if (from.size === 0) return [copy(all)]
  if (view.length <= FEW) return [lookAtAll(all, reduction === 'add' ? '+=' : '=')]
  return reduction === 'add' ? addSorted(all) : [copy(all), setAll(all)]
}

const lookAtAll = (scatter: Scatter, assign: '=' | '+='): Dispatch =>
  dispatchOf({
    name: 'ScatterElements',
    operands: operandsOf(scatter),
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

const copy = ({ outer, rows, inner, data, y, before }: Scatter): Dispatch =>
  dispatchOf({
    name: 'ScatterElements (copy)',
    operands: { data, y },
    workgroups: gridOf(outer * rows * inner),
    code: ({ data, y }) => `
${linearMain(outer * rows * inner)} {
  ${y}[index] = ${before(data)};
}`,
  })

const setAll = ({ outer, rows, updates: count, inner, indices, from, y }: Scatter): Dispatch =>
  dispatchOf({
    name: 'ScatterElements (set)',
    operands: { indices, from, y },
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
