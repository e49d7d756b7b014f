/**
 * The norm of all gradients, and the *gate*: the decision about an update, which stays on the device. A gate is four
 * f32: norm, factor of the gradients, 1 if open, 0.
 *
 * Sums are trees of blocks, a few dozen additions deep, because a compiler may undo compensated summation: the relative
 * error stays below 1e-6 for 2^30 equal numbers, and is smaller for other numbers. Squares overflow float32 from 1.8e19
 * on, which counts as infinite.
 */
import { MAX_SQUARES } from '../../../contract/arena-kernels.ts'
import { type Dispatch, type Operand, rowsOf, WORKGROUP, workgroupMain } from '../../contract.ts'
import { dispatchOf } from '../dispatch.ts'
import { reduction } from '../reduce.ts'
import { vectorOf } from '../vectors.ts'

/** Number of vectors of a range that an invocation adds. */
const VECTORS = 8
/** Number of workgroups' sums that an invocation of the gate adds before it adds their sum to others. */
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

const sumsOf = (count: number): number => Math.ceil(count / (WORKGROUP * VECTORS * vectorOf(count).width))

/** Number of sums of {@link squaresDispatches}. */
export const squaresSize = (counts: readonly number[]): number =>
  counts.reduce((total, count) => total + sumsOf(count), 0)

/** Dispatches that write sums of squares of ranges, for {@link gateDispatch}. @param sums [{@link squaresSize}] */
export function squaresDispatches(ranges: readonly Operand[], sums: Operand): Dispatch[] {
  let next = 0
  return ranges.flatMap((range): Dispatch[] => {
    const groups = sumsOf(range.size)
    if (groups === 0) return []
    const { type: as, total, largest } = vectorOf(range.size)
    const bits = as.replace('f32', 'u32')
    const first = next
    next += groups
    return [
      dispatchOf({
        name: 'squares',
        operands: { range: { of: range, as }, sums: { of: sums, as: 'u32' } },
        workgroups: rowsOf(groups),
        // The code has no sizes, so that ranges of all lengths share a pipeline.
        code: ({ range, sums }) => `
${PART}
${workgroupMain(`(arrayLength(&${range}) + ${WORKGROUP * VECTORS - 1}u) / ${WORKGROUP * VECTORS}u`)} {
  let end = min((row + 1u) * ${WORKGROUP * VECTORS}u, arrayLength(&${range}));
  var sum = ${as}();
  var bits = ${bits}();
  for (var i = row * ${WORKGROUP * VECTORS}u + local; i < end; i += ${WORKGROUP}u) {
    let x = ${range}[i];
    sum += x * x;
    bits = max(bits, bitcast<${bits}>(x) & ${bits}(0x7fffffffu));
  }
  let all = all_of_group(Part(${total('sum')}, ${largest('bits')}), local);
  if (local == 0u) {
    ${sums}[${first}u + row] = select(bitcast<u32>(all.sum), INFINITY_BITS, all.bits >= INFINITY_BITS);
  }
}`,
      }),
    ]
  })
}

export interface GateOperands {
  /** The sums of {@link squaresDispatches}. */
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
 * Computes the gate from sums of squares, which are added in their order. The gate is open if all numbers are finite;
 * if a gradient is not finite, the norm is infinite.
 */
export const gateDispatch = (operands: GateOperands, { clip, closed }: GateRule): Dispatch => ({
  name: 'gate',
  operands: [operands.sums, operands.gate, ...operands.finite].map((of) => ({ of, as: 'u32' })),
  workgroups: [1, 1, 1],
  code: ([sums, gate, ...arrays]) => `
${PART}
${workgroupMain(1)} {
  var part = Part(0.0, 0u);
  for (var first = local; first < ${operands.sums.size}u; first += ${WORKGROUP * BLOCK}u) {
    var block = Part(0.0, 0u);
    for (var i = first; i < min(first + ${WORKGROUP * BLOCK}u, ${operands.sums.size}u); i += ${WORKGROUP}u) {
      block = merge(block, Part(bitcast<f32>(${sums}[i]), ${sums}[i]));
    }
    part = merge(part, block);
  }
  let all = all_of_group(part, local);
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
