/**
 * The norm of all gradients, and the *gate*: the decision about an update, which stays on the device. A gate is four
 * f32: norm, factor of the gradients, 1 if open, 0.
 *
 * Sums are trees of blocks, a few dozen additions deep, because a compiler may undo compensated summation: the relative
 * error stays below 1e-6 for 2^30 equal numbers, and is smaller for other numbers. Squares overflow float32 from 1.8e19
 * on, which counts as infinite.
 */
import { MAX_SQUARES } from '../../../contract/arena-kernels.ts'
import { type Dispatch, type Operand, rowsOf, WORKGROUP, workgroupMain } from '../contract.ts'
import { dispatchOf } from '../dispatch.ts'
import { reduction } from '../reduce.ts'
import { vectorOf } from '../vectors.ts'

/** Number of sums that an invocation adds before it adds their sum to others. */
const BLOCK = 32

/**
 * WGSL of a part: a sum, and the largest bits of a number in it, without the sign. If they are at least the bits of
 * infinity, some number is not finite. Bits are compared, because a compiler may assume that computed numbers are
 * finite.
 */
const PART = `
struct Part { sum: f32, bits: u32 }
const INFINITY_BITS = 0x7f800000u;
fn merge(a: Part, b: Part) -> Part { return Part(a.sum + b.sum, max(a.bits, b.bits)); }
${reduction({ name: 'all_of_group', type: 'Part', lanes: WORKGROUP, merge: (a, b) => `merge(${a}, ${b})` })}`

/** WGSL of `all_sums(begin, end, local)`: the sum of these sums, and whether any of them is not finite. */
const ALL_SUMS = (sums: string) => `
fn all_sums(begin: u32, end: u32, local: u32) -> Part {
  var part = Part(0.0, 0u);
  for (var first = begin + local; first < end; first += ${WORKGROUP * BLOCK}u) {
    var block = Part(0.0, 0u);
    for (var i = first; i < min(first + ${WORKGROUP * BLOCK}u, end); i += ${WORKGROUP}u) {
      block = merge(block, Part(bitcast<f32>(${sums}[i]), ${sums}[i]));
    }
    part = merge(part, block);
  }
  return all_of_group(part, local);
}`

/** WGSL of a sum as it is written: infinity if any number in it is not finite. */
const WRITTEN = 'select(bitcast<u32>(all.sum), INFINITY_BITS, all.bits >= INFINITY_BITS)'

export interface SquaresOperands {
  /** The numbers of a window. */
  readonly range: Operand
  /** int32 [3 · blocks]: `Window.blocks`. */
  readonly blocks: Operand
  /** Sums of all blocks of all windows. */
  readonly sums: Operand
}

/**
 * Writes the sum of squares of each block of a window. The code has no sizes, so that all windows share a pipeline.
 * @param width Number of floats of the vectors in which numbers are read.
 */
export function squaresDispatch({ range, blocks, sums }: SquaresOperands, width: 1 | 4): Dispatch {
  const { type: as, total, largest } = vectorOf(width)
  const bits = as.replace('f32', 'u32')
  return dispatchOf({
    name: 'squares',
    operands: { range: { of: range, as }, blocks: { of: blocks, as: 'u32' }, sums: { of: sums, as: 'u32' } },
    workgroups: rowsOf(blocks.size / 3),
    code: ({ range, blocks, sums }) => `
${PART}
${workgroupMain(`arrayLength(&${blocks}) / 3u`)} {
  let begin = ${blocks}[3u * row];
  let end = begin + ${blocks}[3u * row + 1u];
  var sum = ${as}();
  var bits = ${bits}();
  for (var i = begin + local; i < end; i += ${WORKGROUP}u) {
    let x = ${range}[i];
    sum += x * x;
    bits = max(bits, bitcast<${bits}>(x) & ${bits}(0x7fffffffu));
  }
  let all = all_of_group(Part(${total('sum')}, ${largest('bits')}), local);
  if (local == 0u) { ${sums}[${blocks}[3u * row + 2u]] = ${WRITTEN}; }
}`,
  })
}

export interface RangeSumOperands {
  /** The sums of {@link squaresDispatch}. */
  readonly sums: Operand
  /** int32 [2 · ranges]: `SquaresPlan.ranges`. */
  readonly ranges: Operand
  /** [ranges] */
  readonly totals: Operand
}

/** Adds up the sums of the blocks of each range. */
export const rangeSumsDispatch = ({ sums, ranges, totals }: RangeSumOperands): Dispatch =>
  dispatchOf({
    name: 'sums of ranges',
    operands: {
      sums: { of: sums, as: 'u32' },
      ranges: { of: ranges, as: 'u32' },
      totals: { of: totals, as: 'u32' },
    },
    workgroups: rowsOf(totals.size),
    code: ({ sums, ranges, totals }) => `
${PART}
${ALL_SUMS(sums)}
${workgroupMain(`arrayLength(&${ranges}) / 2u`)} {
  let begin = ${ranges}[2u * row];
  let all = all_sums(begin, begin + ${ranges}[2u * row + 1u], local);
  if (local == 0u) { ${totals}[row] = ${WRITTEN}; }
}`,
  })

export interface GateOperands {
  /** The sums of all ranges. */
  readonly sums: Operand
  /** [4] */
  readonly gate: Operand
  /** Arrays of few numbers that must be finite too. */
  readonly finite: readonly Operand[]
}

export interface GateRule {
  /** Largest norm; 0 for no clipping. */
  readonly clip: number
  /** Closes the gate whatever the norm is. */
  readonly closed: boolean
}

/**
 * Computes the gate from the sums of squares of ranges, which are added in their order. The gate is open if all numbers are finite;
 * if a gradient is not finite, the norm is infinite.
 */
export const gateDispatch = (operands: GateOperands, { clip, closed }: GateRule): Dispatch => ({
  name: 'gate',
  operands: [operands.sums, operands.gate, ...operands.finite].map((of) => ({ of, as: 'u32' })),
  workgroups: [1, 1, 1],
  code: ([sums, gate, ...arrays]) => `
${PART}
${ALL_SUMS(sums as string)}
${workgroupMain(1)} {
  let all = all_sums(0u, ${operands.sums.size}u, local);
  if (local > 0u) { return; }
  let is_finite = all.bits < INFINITY_BITS && all.sum < ${MAX_SQUARES};
  var is_open = is_finite;
  ${operands.finite.map(({ size }, i) => `for (var i = 0u; i < ${size}u; i++) { is_open = is_open && (${arrays[i]}[i] & 0x7fffffffu) < INFINITY_BITS; }`).join('\n  ')}
  let norm = sqrt(all.sum);
  let factor = ${clip > 0 ? `select(1.0, ${clip}f / norm, norm > ${clip}f)` : '1.0'};
  ${gate}[0] = select(INFINITY_BITS, bitcast<u32>(norm), is_finite);
  ${gate}[1] = bitcast<u32>(factor);
  ${gate}[2] = ${closed ? '0u' : 'select(0u, bitcast<u32>(1.0), is_open)'};
  ${gate}[3] = 0u;
}`,
})
