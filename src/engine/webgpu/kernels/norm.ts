/**
 * Root-mean-square norm, y = r·x·weight with r = 1/√(mean x² + ε) (Zhang and Sennrich 2019), and its gradient, for T
 * rows of width D.
 */
import * as declared from '../../../core/graph/kernels/products.ts'
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
import { floatArray } from './memory.ts'
import { lanesOf, reduction, strandSum } from './reduce.ts'
import { bytesOfCall, heightOf, vectorOf, widthOf } from './vectors.ts'

export const rmsNorm = implement(declared.rmsNorm, {
  lower({ attributes: { epsilon }, inputs: { x, weight }, outputs: { y, inverse } }) {
    const [height, columns] = [heightOf(x), widthOf(x)]
    if (y.size === 0 && inverse.size === 0) return []
    const { type: as, width, total } = vectorOf(columns)
    const ofY = floatArray(as, y)
    const vectors = columns / width
    const lanes = lanesOf(vectors)
    const strands = WORKGROUP / lanes
    const groups = Math.ceil(height / strands)
    const norm = dispatchOf({
      name: 'rms-norm',
      operands: { x_TD: { of: x, as }, weight_D: { of: weight, as }, y_TD: ofY, inverse_T: inverse },
      workgroups: rowsOf(groups),
      code: ({ x_TD, weight_D, y_TD, inverse_T }) => `
${reduction({ name: 'sum_of_row', lanes })}
${workgroupMain(groups)} {
  let t = row * ${strands}u + local / ${lanes}u;
  let lane = local % ${lanes}u;
  let start = t * ${vectors}u;
  let end = select(0u, ${vectors}u, t < ${height}u);
  var squares = 0.0;
  for (var column = lane; column < end; column += ${lanes}u) {
    let x = ${x_TD}[start + column];
    squares += ${total('(x * x)')};
  }
  let inverse = 1.0 / sqrt(sum_of_row(squares, local) / ${columns}f + ${epsilon.float}f);
  for (var column = lane; column < end; column += ${lanes}u) {
    ${y_TD}[start + column] = ${ofY.stored(`${x_TD}[start + column] * inverse * ${weight_D}[column]`)};
  }
  if (lane == 0u && t < ${height}u) { ${inverse_T}[t] = inverse; }
}`,
    })
    return [norm]
  },
  work: (call) => ({ flops: 4 * call.inputs.x.size, bytes: bytesOfCall(call) }),
  halves: { inputs: [], outputs: ['y'] },
})

/** The same operator of ONNX Runtime, along the last axis. */
export const simplifiedLayerNorm = {
  ...rmsNorm,
  declaration: { ...declared.rmsNorm, name: 'SimplifiedLayerNormalization' },
}

/** Minimum number of lanes, so that there are at most 16 strands, whose sums are added one after the other. */
const MIN_LANES = 16

/**
 * The gradient is dx = r·(dy·weight − r·x·c) and dweight = Σ_t r·x·dy, where c is the mean of r·x·weight·dy over the
 * row. Products with r come first, because r³ underflows for large x. A workgroup has a part of dweight; parts after
 * the last row are zero.
 */
export const rmsNormGradient = implement(declared.rmsNormGradient, {
  lower({ inputs: { dy, x, weight, inverse }, outputs: { dx, dWeight }, addends }) {
    const [height, columns, groups] = [heightOf(dy), widthOf(dy), heightOf(dWeight)]
    if (columns === 0) return []
    if (height === 0) return [zeros(dWeight)]
    const { type: as, width, total } = vectorOf(columns)
    const ofDy = floatArray(as, dy)
    const vectors = columns / width
    const lanes = Math.max(MIN_LANES, lanesOf(vectors))
    const strands = WORKGROUP / lanes
    const rowsOfGroup = strands * Math.ceil(height / (groups * strands))
    const steps = Math.ceil(vectors / lanes)
    const gradient = dispatchOf({
      name: 'rms-norm-gradient',
      operands: {
        dy_TD: ofDy,
        x_TD: { of: x, as },
        weight_D: { of: weight, as },
        inverse_T: inverse,
        addend_TD: addends.dx && { of: addends.dx, as },
        dx_TD: { of: dx, as },
        parts_PD: { of: dWeight, as },
      },
      workgroups: rowsOf(groups),
      code: ({ dy_TD, x_TD, weight_D, inverse_T, addend_TD, dx_TD, parts_PD }) => `
${reduction({ name: 'sum_of_row', lanes })}
${strandSum({ name: 'sum_of_strands', type: as, lanes })}
${workgroupMain(groups)} {
  let strand = local / ${lanes}u;
  let lane = local % ${lanes}u;
  var sums: array<${as}, ${steps}>;
  for (var first = row * ${rowsOfGroup}u; first < min((row + 1u) * ${rowsOfGroup}u, ${height}u); first += ${strands}u) {
    let t = first + strand;
    let start = t * ${vectors}u;
    let end = select(0u, ${vectors}u, t < ${height}u);
    let inverse = ${inverse_T}[t];
    var along = 0.0;
    for (var column = lane; column < end; column += ${lanes}u) {
      let normed = ${x_TD}[start + column] * inverse;
      along += ${total(`(normed * ${weight_D}[column] * ${ofDy.read(`${dy_TD}[start + column]`)})`)};
    }
    let mean = sum_of_row(along, local) / ${columns}f;
    for (var step = 0u; step < ${steps}u; step++) {
      let column = step * ${lanes}u + lane;
      if (column < end) {
        let dy = ${ofDy.read(`${dy_TD}[start + column]`)};
        let normed = ${x_TD}[start + column] * inverse;
        sums[step] += normed * dy;
        let dx = (dy * ${weight_D}[column] - normed * mean) * inverse;
        ${dx_TD}[start + column] = dx${addend_TD && ` + ${addend_TD}[start + column]`};
      }
    }
  }
  for (var step = 0u; step < ${steps}u; step++) {
    let column = step * ${lanes}u + lane;
    let sum = sum_of_strands(sums[step], local);
    if (strand == 0u && column < ${vectors}u) { ${parts_PD}[row * ${vectors}u + column] = sum; }
  }
}`,
    })
    return [gradient]
  },
  work: (call) => ({ flops: 10 * call.inputs.dy.size, bytes: bytesOfCall(call) }),
  halves: { inputs: ['dy'], outputs: [] },
})

const zeros = (y: Operand): Dispatch =>
  dispatchOf({
    name: 'zeros',
    operands: { y },
    workgroups: gridOf(y.size),
    code: ({ y: array }) => `${linearMain(y.size)} { ${array}[index] = 0.0; }`,
  })
