/**
 * Kernels that move rows of tokens to experts and back (src/core/graph/kernels/rows.ts). Sums are in the order of the
 * choices.
 */
import * as declared from '../../../core/graph/kernels/rows.ts'
import { gridOf, implement, linearMain, rowsOf, WORKGROUP, workgroupMain } from './contract.ts'
import { dispatchOf } from './dispatch.ts'
import { floatArray } from './memory.ts'
import { lanesOf, reduction } from './reduce.ts'
import { bytesOf, vectorOf, widthOf } from './vectors.ts'

export const gatherRows = implement(declared.gatherRows, {
  lower({ inputs: { x, index, weight }, outputs: { y } }) {
    if (y.size === 0) return []
    const { type, width } = vectorOf(widthOf(x))
    const [ofX, ofY] = [floatArray(type, x), floatArray(type, y)]
    const vectors = widthOf(x) / width
    const count = y.size / width
    const gather = dispatchOf({
      name: 'gather-rows',
      operands: { x_XD: ofX, index_R: index, weight_R: weight, y_RD: ofY },
      workgroups: gridOf(count),
      code: ({ x_XD, index_R, weight_R, y_RD }) => `
${linearMain(count)} {
  let row = index / ${vectors}u;
  let column = index % ${vectors}u;
  let value = ${ofX.read(`${x_XD}[u32(${index_R}[row]) * ${vectors}u + column]`)};
  ${y_RD}[index] = ${ofY.stored(`value${weight_R && ` * ${weight_R}[row]`}`)};
}`,
    })
    return [gather]
  },
  work: ({ inputs: { index, weight }, outputs: { y } }) => ({
    flops: weight ? y.size : 0,
    bytes: bytesOf(y, y, index, weight),
  }),
  halves: { inputs: ['x'], outputs: ['y'] },
})

export const combineRows = implement(declared.combineRows, {
  lower({ inputs: { rows, slot, weight, kept }, outputs: { y }, addends }) {
    if (y.size === 0) return []
    const { type, width } = vectorOf(widthOf(y))
    const [ofRows, ofY] = [floatArray(type, rows), floatArray(type, y)]
    const vectors = widthOf(y) / width
    const count = y.size / width
    // Without rows all choices are dropped.
    const hasRows = rows.size > 0
    const choices = widthOf(slot)
    const combine = dispatchOf({
      name: 'combine-rows',
      operands: {
        rows_RD: hasRows ? ofRows : undefined,
        slot_TK: hasRows ? slot : undefined,
        weight_TK: hasRows ? weight : undefined,
        kept_TK: hasRows ? kept : undefined,
        addend_TD: addends.y && { of: addends.y, as: type },
        y_TD: ofY,
      },
      workgroups: gridOf(count),
      code: ({ rows_RD, slot_TK, weight_TK, kept_TK, addend_TD, y_TD }) => `
${linearMain(count)} {
  let token = index / ${vectors}u;
  let column = index % ${vectors}u;
  var sum = ${addend_TD ? `${addend_TD}[index]` : `${type}()`};
  for (var choice = token * ${choices}u; choice < (token + 1u) * ${choices}u; choice++) {
    let weight = ${weight_TK ? `${weight_TK}[choice]` : '1.0'};${kept_TK && ` let kept = ${kept_TK}[choice];`}
    ${rows_RD && `if (weight != 0.0${kept_TK && ' && kept != 0.0'}) { sum += weight${kept_TK && ' * kept'} * ${ofRows.read(`${rows_RD}[u32(${slot_TK}[choice]) * ${vectors}u + column]`)}; }`}
  }
  ${y_TD}[index] = ${ofY.stored('sum')};
}`,
    })
    return [combine]
  },
  work({ inputs: { rows, slot, weight, kept }, outputs: { y }, addends }) {
    const terms = slot.size * widthOf(y)
    return { flops: 2 * terms, bytes: bytesOf({ ...rows, size: terms }, y, slot, weight, kept, addends.y) }
  },
  halves: { inputs: ['rows'], outputs: ['y'] },
})

/** Where kept is 0, slot and row are not read. */
export const rowDots = implement(declared.rowDots, {
  lower({ inputs: { dy, rows, slot, kept }, outputs: { dots } }) {
    if (dots.size === 0) return []
    // Without rows all choices are dropped.
    const columns = rows.size > 0 ? widthOf(dy) : 0
    const { type, width, total } = vectorOf(columns)
    const [ofDy, ofRows] = [floatArray(type, dy), floatArray(type, rows)]
    const vectors = columns / width
    const choices = widthOf(slot)
    const lanes = lanesOf(vectors)
    const strands = WORKGROUP / lanes
    const groups = Math.ceil(dots.size / strands)
    const multiply = dispatchOf({
      name: 'row-dots',
      operands: { dy_TD: ofDy, rows_RD: ofRows, slot_TK: slot, kept_TK: kept, dots_TK: dots },
      workgroups: rowsOf(groups),
      code: ({ dy_TD, rows_RD, slot_TK, kept_TK, dots_TK }) => `
${reduction({ name: 'sum_of_row', lanes })}
${workgroupMain(groups)} {
  let choice = row * ${strands}u + local / ${lanes}u;
  let lane = local % ${lanes}u;
  let is_used = choice < ${dots.size}u;
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
  if (is_used && lane == 0u) { ${dots_TK}[choice] = weight * result; }
}`,
    })
    return [multiply]
  },
  work({ inputs: { dy, rows, slot, kept }, outputs: { dots } }) {
    const terms = slot.size * widthOf(dy)
    return { flops: 2 * terms, bytes: bytesOf({ ...rows, size: terms }, dy, slot, kept, dots) }
  },
  halves: { inputs: ['dy', 'rows'], outputs: [] },
})
