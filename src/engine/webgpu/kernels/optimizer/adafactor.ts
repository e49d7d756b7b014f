/** Adafactor in place, without momentum (Shazeer and Stern 2018, algorithms 4 and 5), for tensors of one shape. */
import { dim } from '../../../../core/graph/shape.ts'
import { type Dispatch, rowsOf, WORKGROUP, workgroupMain } from '../contract.ts'
import { dispatchOf } from '../dispatch.ts'
import { reduction } from '../reduce.ts'
import { vectorOf } from '../vectors.ts'
import { FLOOR } from './adafactor-factors.ts'
import { matrixDispatches } from './adafactor-matrices.ts'
import type { AdafactorOperands } from './adafactor-tiles.ts'

/**
 * Dispatches that update consecutive tensors. Gradients are multiplied by the factor of the gate; if it is not open,
 * nothing is written. The state of a matrix begins with mean squares of the rows and of the columns; its rest is not
 * used.
 */
export function adafactorDispatches(operands: AdafactorOperands): Dispatch[] {
  const { size, shape } = operands.p
  if (size === 0) return []
  return shape.length === 2 ? [updateVectors(operands)] : matrixDispatches(operands)
}

/**
 * The whole update of vectors. A workgroup has one vector, because vectors are short. The state is the second moment,
 * v.
 */
function updateVectors({ p, g, state, settings, gate }: AdafactorOperands): Dispatch {
  const [count, columns] = [dim(p.shape, 0), dim(p.shape, 1)]
  const { type: as, width, total } = vectorOf(columns)
  const vectors = columns / width
  return dispatchOf({
    name: 'adafactor vectors',
    operands: { p: { of: p, as }, g: { of: g, as }, v: { of: state, as }, settings, gate },
    workgroups: rowsOf(count),
    code: ({ p, g, v, settings, gate }) => `
${reduction({ name: 'sum_of_group', lanes: WORKGROUP })}
${workgroupMain(count)} {
  let beta = ${settings}[0];
  let is_open = ${gate}[2] == 1.0;
  let end = (row + 1u) * ${vectors}u;
  var sum = 0.0;
  for (var i = row * ${vectors}u + local; i < end; i += ${WORKGROUP}u) {
    let gradient = ${g}[i] * ${gate}[1];
    let moment = ${v}[i] * beta + (gradient * gradient + ${FLOOR}) * (1.0 - beta);
    if (is_open) { ${v}[i] = moment; }
    sum += ${total('(gradient * gradient / moment)')};
  }
  let size = ${settings}[1] / max(1.0, sqrt(sum_of_group(sum, local) / ${columns}f));
  if (!is_open) { return; }
  for (var i = row * ${vectors}u + local; i < end; i += ${WORKGROUP}u) {
    let direction = ${g}[i] * ${gate}[1] / sqrt(${v}[i]);
    ${p}[i] = ${p}[i] * ${settings}[2] - direction * size;
  }
}`,
  })
}
