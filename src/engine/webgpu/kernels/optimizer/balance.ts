/** Biases of experts that move against their loads (Wang et al. 2024, algorithm 1), in place. */
import { type Dispatch, type Operand, WORKGROUP, workgroupMain } from '../contract.ts'
import { dispatchOf } from '../dispatch.ts'
import { reduction } from '../reduce.ts'

export interface BalanceOperands {
  /** [N] */
  readonly bias: Operand
  /** The rate, and a load of each expert [1 + N]. */
  readonly settings: Operand
  readonly gate: Operand
  /** Loads [N] to add to the loads in `settings`. */
  readonly more: Operand | undefined
}

/**
 * b ← b + rate · sign(mean load − load) for N experts. Loads are integers, and are compared with their mean as
 * integers. If the gate is not open, nothing is written.
 */
export function balanceDispatch({ bias, settings, gate, more }: BalanceOperands): Dispatch {
  const experts = bias.size
  return dispatchOf({
    name: 'balance',
    operands: { bias, settings, gate, more },
    workgroups: [1, 1, 1],
    code: ({ bias, settings, gate, more }) => `
${reduction({ name: 'sum_of_all', type: 'u32', lanes: WORKGROUP })}
fn load_of(n: u32) -> u32 { return u32(${settings}[1u + n])${more && ` + u32(${more}[n])`}; }
${workgroupMain(1)} {
  var sum = 0u;
  for (var n = local; n < ${experts}u; n += ${WORKGROUP}u) { sum += load_of(n); }
  let total = sum_of_all(sum, local);
  let mean = total / ${experts}u;
  let is_more = total % ${experts}u > 0u;
  if (${gate}[2] != 1.0) { return; }
  for (var n = local; n < ${experts}u; n += ${WORKGROUP}u) {
    let load = load_of(n);
    if (load > mean) { ${bias}[n] -= ${settings}[0]; }
    if (load < mean || (load == mean && is_more)) { ${bias}[n] += ${settings}[0]; }
  }
}`,
  })
}
