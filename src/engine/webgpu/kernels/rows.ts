/**
 * Kernels that move rows of tokens to experts and back (src/core/graph/ops/expert.ts): T tokens of width D, K choices of
 * each, R slots. Sums are in the order of the choices.
 */
import {
  gridOf,
  type Kernel,
  type KernelCall,
  linearMain,
  type Operand,
  rowsOf,
  WORKGROUP,
  workgroupMain,
} from '../contract.ts'
import { dispatchOf } from './dispatch.ts'
import { floatArray } from './memory.ts'
import { lanesOf, reduction } from './reduce.ts'
import { bytesOf, vectorOf, widthOf } from './vectors.ts'

/** Inputs x [X, D], index [R] int32 (, weight [R]); output weight · x[index] [R, D]. */
export const gatherRows: Kernel = {
  lower({ inputs, outputs }) {
    const [x, , weight] = inputs as [Operand, Operand, Operand?]
    const [out] = outputs as [Operand]
    if (out.size === 0) return { dispatches: [] }
    const { type, width } = vectorOf(widthOf(x))
    const [ofX, ofOut] = [floatArray(type, x), floatArray(type, out)]
    const vectors = widthOf(x) / width
    const count = out.size / width
    const gather = dispatchOf({
      name: 'gather-rows',
      operands: {
        x_XD: { input: 0, as: ofX.as },
        index_R: { input: 1 },
        weight_R: weight && { input: 2 },
        out_RD: { output: 0, as: ofOut.as },
      },
      workgroups: gridOf(count),
      code: ({ x_XD, index_R, weight_R, out_RD }) => `
${linearMain(count)} {
  let row = index / ${vectors}u;
  let column = index % ${vectors}u;
  let value = ${ofX.read(`${x_XD}[u32(${index_R}[row]) * ${vectors}u + column]`)};
  ${out_RD}[index] = ${ofOut.stored(`value${weight_R && ` * ${weight_R}[row]`}`)};
}`,
    })
    return { dispatches: [gather] }
  },
  work({ inputs, outputs }) {
    const [, index, weight] = inputs as [Operand, Operand, Operand?]
    const [out] = outputs as [Operand]
    return { flops: weight ? out.size : 0, bytes: bytesOf(out, out, index, weight) }
  },
  halves: { inputs: [0], outputs: [0] },
}

function combined({ attributes, inputs, outputs, added }: KernelCall) {
  const [rows, slot, maybeWeight] = inputs as [Operand, Operand, Operand?]
  const [out] = outputs as [Operand]
  const weight = attributes.weighted === 1 ? maybeWeight : undefined
  return { rows, slot, weight, addend: added.length > 0 ? inputs.at(-1) : undefined, out }
}

/**
 * Inputs rows [R, D], slot [T, K] int32 (, weight [T, K]) (, addend [T, D]); output addend + Σ_k weight · rows[slot]
 * [T, D]. A weight of 0 means a dropped assignment, whose slot and row are not read: the row may hold anything.
 */
export const combineRows: Kernel = {
  lower(call) {
    const { rows, slot, weight, addend, out } = combined(call)
    if (out.size === 0) return { dispatches: [] }
    const { type, width } = vectorOf(widthOf(out))
    const [ofRows, ofOut] = [floatArray(type, rows), floatArray(type, out)]
    const vectors = widthOf(out) / width
    const count = out.size / width
    // Without rows all assignments are dropped.
    const hasRows = rows.size > 0
    const choices = widthOf(slot)
    const combine = dispatchOf({
      name: 'combine-rows',
      operands: {
        rows_RD: hasRows ? { input: 0, as: ofRows.as } : undefined,
        slot_TK: hasRows ? { input: 1 } : undefined,
        weight_TK: hasRows && weight ? { input: 2 } : undefined,
        addend_TD: addend && { input: call.inputs.length - 1, as: type },
        out_TD: { output: 0, as: ofOut.as },
      },
      workgroups: gridOf(count),
      code: ({ rows_RD, slot_TK, weight_TK, addend_TD, out_TD }) => `
${linearMain(count)} {
  let token = index / ${vectors}u;
  let column = index % ${vectors}u;
  var sum = ${addend_TD ? `${addend_TD}[index]` : `${type}()`};
  for (var choice = token * ${choices}u; choice < (token + 1u) * ${choices}u; choice++) {
    let weight = ${weight_TK ? `${weight_TK}[choice]` : '1.0'};
    ${rows_RD && `if (weight != 0.0) { sum += weight * ${ofRows.read(`${rows_RD}[u32(${slot_TK}[choice]) * ${vectors}u + column]`)}; }`}
  }
  ${out_TD}[index] = ${ofOut.stored('sum')};
}`,
    })
    return { dispatches: [combine] }
  },
  work(call) {
    const { rows, slot, weight, addend, out } = combined(call)
    const terms = slot.size * widthOf(out)
    return { flops: 2 * terms, bytes: bytesOf({ ...rows, size: terms }, out, slot, weight, addend) }
  },
  halves: { inputs: [0], outputs: [0] },
}

/**
 * Inputs dy [T, D], rows [R, D], slot [T, K] int32 (, kept [T, K]); output kept · (dy · rows[slot]) [T, K]. Where kept
 * is 0 the result is 0, and slot and row are not read.
 */
export const rowDots: Kernel = {
  lower({ inputs, outputs }) {
    const [dy, rows, slot, kept] = inputs as [Operand, Operand, Operand, Operand?]
    const [out] = outputs as [Operand]
    if (out.size === 0) return { dispatches: [] }
    // Without rows all assignments are dropped.
    const columns = rows.size > 0 ? widthOf(dy) : 0
    const { type, width, total } = vectorOf(columns)
    const [ofDy, ofRows] = [floatArray(type, dy), floatArray(type, rows)]
    const vectors = columns / width
    const choices = widthOf(slot)
    const lanes = lanesOf(vectors)
    const strands = WORKGROUP / lanes
    const groups = Math.ceil(out.size / strands)
    const dots = dispatchOf({
      name: 'row-dots',
      operands: {
        dy_TD: { input: 0, as: ofDy.as },
        rows_RD: { input: 1, as: ofRows.as },
        slot_TK: { input: 2 },
        kept_TK: kept && { input: 3 },
        out_TK: { output: 0 },
      },
      workgroups: rowsOf(groups),
      code: ({ dy_TD, rows_RD, slot_TK, kept_TK, out_TK }) => `
${reduction({ name: 'sum_of_row', lanes })}
${workgroupMain(groups)} {
  let choice = row * ${strands}u + local / ${lanes}u;
  let lane = local % ${lanes}u;
  let is_used = choice < ${out.size}u;
  let weight = select(0.0, ${kept_TK ? `${kept_TK}[choice]` : '1.0'}, is_used);
  var sum = 0.0;
  if (weight != 0.0) {
    let token = choice / ${choices}u * ${vectors}u;
    let slot = u32(${slot_TK}[choice]) * ${vectors}u;
    for (var column = lane; column < ${vectors}u; column += ${lanes}u) {
      sum += ${total(`(${ofDy.read(`${dy_TD}[token + column]`)} * ${ofRows.read(`${rows_RD}[slot + column]`)})`)};
    }
  }
  let result = sum_of_row(sum, local);
  if (is_used && lane == 0u) { ${out_TK}[choice] = weight * result; }
}`,
    })
    return { dispatches: [dots] }
  },
  work({ inputs, outputs }) {
    const [dy, rows, slot, kept] = inputs as [Operand, Operand, Operand, Operand?]
    const [out] = outputs as [Operand]
    const terms = slot.size * widthOf(dy)
    return { flops: 2 * terms, bytes: bytesOf({ ...rows, size: terms }, dy, slot, kept, out) }
  },
  halves: { inputs: [0, 1], outputs: [] },
}
