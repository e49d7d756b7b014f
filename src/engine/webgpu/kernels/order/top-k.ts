/** ONNX `TopK`. */
import {
  type Dispatch,
  gridOf,
  type Kernel,
  type Lowered,
  linearMain,
  type Operand,
  type Place,
  rowsOf,
  WORKGROUP,
  workgroupMain,
} from '../../contract.ts'
import { bytesOf } from '../vectors.ts'
import { axisView, elementOf } from '../views.ts'
import { sortInScratch } from './sort.ts'
import { FLOAT_KEY, fitsBlock, type Sorted, sortInBlocks, sortPlan } from './sort-block.ts'

/** Up to here, ranks are counted. */
const MAX_COUNTED = WORKGROUP

/** Keys of {@link FLOAT_KEY}, and of integers: with the sign flipped they are in the order of the numbers. */
const keyOf = (x: Operand, bits: string): string =>
  elementOf(x) === 'f32' ? `float_key(${bits})` : `(${bits} ^ 0x80000000u)`

/**
 * The k largest along the last axis, largest first, equal ones by position; NaN comes first. k is the width of the
 * outputs, values and positions. Rows of a few elements: each element counts those before it. Longer ones are sorted.
 */
export const topK: Kernel = {
  lower(call) {
    const { axis = -1, largest = 1 } = call.attributes
    const [x] = call.inputs as readonly [Operand]
    if ((axis !== -1 && axis !== x.shape.length - 1) || largest !== 1)
      throw new Error(`internal: TopK along axis ${axis} with largest=${largest}`)
    const { outer: rows, length } = axisView(x, -1)
    const keep = (call.outputs[0] as Operand).shape.at(-1) as number
    if (rows * keep === 0) return { dispatches: [] }
    if (length <= MAX_COUNTED) return { dispatches: [countRanks(x, rows, length, keep)] }
    return sortRows(x, rows, length, keep)
  },
  work: ({ inputs, outputs }) => ({ flops: 0, bytes: bytesOf(...inputs, ...outputs) }),
}

function countRanks(x: Operand, count: number, width: number, keep: number): Dispatch {
  const rows = Math.floor(WORKGROUP / width)
  const groups = Math.ceil(count / rows)
  return {
    name: 'TopK',
    operands: [{ input: 0, as: 'u32' }, { output: 0, as: 'u32' }, { output: 1 }],
    workgroups: rowsOf(groups),
    code: ([bits, values, positions]) => `
${FLOAT_KEY}
var<workgroup> keys: array<u32, ${WORKGROUP}>;
${workgroupMain(groups)} {
  let column = local % ${width}u;
  let line = row * ${rows}u + local / ${width}u;
  let exists = local < ${rows * width}u && line < ${count}u;
  var value = 0u;
  if (exists) { value = ${bits}[line * ${width}u + column]; }
  let key = ${keyOf(x, 'value')};
  keys[local] = key;
  workgroupBarrier();
  if (!exists) { return; }
  var rank = 0u;
  for (var i = 0u; i < ${width}u; i++) {
    let other = keys[local - column + i];
    rank += u32(other > key || (other == key && i < column));
  }
  if (rank < ${keep}u) {
    ${values}[line * ${keep}u + rank] = value;
    ${positions}[line * ${keep}u + rank] = i32(column);
  }
}`,
  }
}

function sortRows(x: Operand, rows: number, length: number, keep: number): Lowered {
  const sorted: Sorted = {
    rows,
    length,
    keep,
    operands: [{ input: 0, as: 'u32' }],
    key: ([bits]) => keyOf(x, `${bits}[line * ${length}u + position]`),
    functions: FLOAT_KEY,
  }
  const outputs = [{ output: 0, as: 'u32' }, { output: 1 }] as const
  if (fitsBlock(length)) {
    const store = ([bits, values, positions]: readonly string[]) => `
    ${values}[line * ${keep}u + i] = ${bits}[line * ${length}u + positions[i]];
    ${positions}[line * ${keep}u + i] = i32(positions[i]);`
    return { dispatches: [sortInBlocks(sorted, 'TopK', outputs, store)] }
  }
  const { padded } = sortPlan(sorted)
  const [keys, places]: [Place, Place] = [{ scratch: 0 }, { scratch: 1 }]
  const take: Dispatch = {
    name: 'TopK (take)',
    operands: [{ input: 0, as: 'u32' }, places, ...outputs],
    workgroups: gridOf(rows * keep),
    code: ([bits, places, values, positions]) => `
${linearMain(rows * keep)} {
  let line = index / ${keep}u;
  let position = ${places}[line * ${padded}u + index % ${keep}u];
  ${values}[index] = ${bits}[line * ${length}u + u32(position)];
  ${positions}[index] = position;
}`,
  }
  const memory = { dtype: 'int32', shape: [rows, padded] } as const
  return { scratch: [memory, memory], dispatches: [...sortInScratch(sorted, 'TopK', keys, places), take] }
}
