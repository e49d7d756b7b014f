/** ONNX `TopK`. */
import {
  type Dispatch,
  gridOf,
  implement,
  linearMain,
  type Operand,
  rowsOf,
  scratch,
  WORKGROUP,
  workgroupMain,
} from '../contract.ts'
import { dispatchOf } from '../dispatch.ts'
import { bytesOfCall, widthOf } from '../vectors.ts'
import { axisView, elementOf } from '../views.ts'
import { sortInScratch } from './sort.ts'
import { blockSort, blocksOf, FLOAT_KEY, fitsBlock, type Sorted, sortPlan } from './sort-block.ts'

/** Maximum width of a row whose ranks are counted. */
const MAX_COUNTED = WORKGROUP

/**
 * WGSL of a key: {@link FLOAT_KEY} of a float, or an integer with its sign flipped, so that keys are in the order of
 * the numbers.
 */
const keyOf = (x: Operand, bits: string): string =>
  elementOf(x) === 'f32' ? `float_key(${bits})` : `(${bits} ^ 0x80000000u)`

/**
 * The k largest elements along the last axis, largest first, equal elements by position; NaN comes first. k is the
 * width of the outputs, values and positions. In a row of few elements, each element counts the elements before it;
 * longer rows are sorted.
 */
export const topK = implement(
  { name: 'TopK', inputs: ['x'], outputs: ['values', 'positions'] },
  {
    lower({ attributes: { axis = -1, largest = 1 }, inputs: { x }, outputs: { values, positions } }) {
      if ((axis !== -1 && axis !== x.shape.length - 1) || largest !== 1)
        throw new Error(`internal: TopK along axis ${axis} with largest=${largest}`)
      const { outer: rows, length } = axisView(x, -1)
      const best = { x, values, positions, rows, length, keep: widthOf(values) }
      if (rows * best.keep === 0) return []
      return length <= MAX_COUNTED ? [countRanks(best)] : sortRows(best)
    },
    work: (call) => ({ flops: 0, bytes: bytesOfCall(call) }),
  },
)

/** The operands of a call: the first `keep` elements of rows of some length. */
interface Best {
  readonly x: Operand
  readonly values: Operand
  readonly positions: Operand
  readonly rows: number
  readonly length: number
  readonly keep: number
}

function countRanks({ x, values, positions, rows: count, length: width, keep }: Best): Dispatch {
  const rows = Math.floor(WORKGROUP / width)
  const groups = Math.ceil(count / rows)
  return dispatchOf({
    name: 'TopK',
    operands: { bits: { of: x, as: 'u32' }, values: { of: values, as: 'u32' }, positions },
    workgroups: rowsOf(groups),
    code: ({ bits, values, positions }) => `
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
  })
}

function sortRows({ x, values, positions, rows, length, keep }: Best): Dispatch[] {
  const sorted: Sorted = {
    rows,
    length,
    keep,
    bits: x,
    key: (bits) => keyOf(x, `${bits}[line * ${length}u + position]`),
    functions: FLOAT_KEY,
  }
  const [ofX, ofValues] = [x, values].map((of) => ({ of, as: 'u32' }) as const)
  if (fitsBlock(length)) {
    const sort = dispatchOf({
      name: 'TopK',
      operands: { bits: ofX, values: ofValues, positions },
      workgroups: blocksOf(sorted),
      code: ({ bits, values, positions }) => {
        const take = `
    ${values}[line * ${keep}u + i] = ${bits}[line * ${length}u + positions[i]];
    ${positions}[line * ${keep}u + i] = i32(positions[i]);`
        return blockSort(sorted, bits, `for (var i = local; i < ${keep}u; i += ${WORKGROUP}u) { ${take} }`)
      },
    })
    return [sort]
  }
  const { padded } = sortPlan(sorted)
  const [keys, places] = [scratch('int32', [rows, padded]), scratch('int32', [rows, padded])]
  const take = dispatchOf({
    name: 'TopK (take)',
    operands: { bits: ofX, places, values: ofValues, positions },
    workgroups: gridOf(rows * keep),
    code: ({ bits, places, values, positions }) => `
${linearMain(rows * keep)} {
  let line = index / ${keep}u;
  let position = ${places}[line * ${padded}u + index % ${keep}u];
  ${values}[index] = ${bits}[line * ${length}u + u32(position)];
  ${positions}[index] = position;
}`,
  })
  return [...sortInScratch(sorted, 'TopK', keys, places), take]
}
