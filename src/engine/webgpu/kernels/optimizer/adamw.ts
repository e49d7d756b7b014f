/** AdamW (Loshchilov and Hutter 2019, algorithm 2), in place. */
import { type Dispatch, gridOf, linearMain, type Operand } from '../contract.ts'
import { dispatchOf } from '../dispatch.ts'
import { vectorOf } from '../vectors.ts'

export interface AdamwOperands {
  /** Parameters, gradients and moments, of one size. */
  readonly p: Operand
  readonly g: Operand
  readonly m: Operand
  readonly v: Operand
  /** The numbers first, second, β₁, β₂, size, correction, ε and keep. */
  readonly settings: Operand
  readonly gate: Operand
}

/**
 * m ← β₁m + first·g, v ← β₂v + second·g², p ← keep·p − size·m / (correction·√v + ε), with gradients g times the factor
 * of the gate. If the gate is not open, nothing is written.
 */
export function adamwDispatch({ p, g, m, v, settings, gate }: AdamwOperands): Dispatch {
  const { type: as, width } = vectorOf(p.size)
  return dispatchOf({
    name: 'adamw',
    operands: { p: { of: p, as }, g: { of: g, as }, m: { of: m, as }, v: { of: v, as }, settings, gate },
    workgroups: gridOf(p.size / width),
    code: ({ p, g, m, v, settings, gate }) => `
${linearMain(`arrayLength(&${p})`)} {
  if (${gate}[2] != 1.0) { return; }
  let first = ${settings}[0];
  let second = ${settings}[1];
  let beta1 = ${settings}[2];
  let beta2 = ${settings}[3];
  let size = ${settings}[4];
  let correction = ${settings}[5];
  let epsilon = ${settings}[6];
  let keep = ${settings}[7];
  let gradient = ${g}[index] * ${gate}[1];
  let moment1 = ${m}[index] * beta1 + gradient * first;
  let moment2 = ${v}[index] * beta2 + gradient * gradient * second;
  ${m}[index] = moment1;
  ${v}[index] = moment2;
  ${p}[index] = ${p}[index] * keep - moment1 / (sqrt(moment2) * correction + epsilon) * size;
}`,
  })
}
