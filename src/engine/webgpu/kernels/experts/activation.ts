/** Ends of products of experts that apply an activation, or its gradient, to each result. All arrays are [R, F]. */
import { geluCode, swishCode } from '../math.ts'
import { type Lines, readFour, writeFour } from '../products/floats.ts'
import { type Output, outputOf } from '../products/output.ts'

/** Takes x·up; writes it as inner, and active = gelu(inner). */
export const activeOutput = ({ inner, active }: Readonly<Record<'inner' | 'active', Lines>>): Output =>
  outputOf(
    { inner, active },
    ({ inner, active }) => `${geluCode('vec4<f32>')}
${writeFour('write_inner', inner)}
${writeFour('write_active', active)}
fn put(at: u32, count: u32, value: vec4<f32>) {
  write_inner(at, count, value);
  write_active(at, count, gelu(value));
}`,
  )

/** Takes x·gate; writes it as inner_gate, and active = swish(inner_gate) ∘ inner. */
export const activeSwishOutput = ({
  innerGate,
  inner,
  active,
}: Readonly<Record<'innerGate' | 'inner' | 'active', Lines>>): Output =>
  outputOf(
    { innerGate, inner, active },
    ({ innerGate, inner, active }) => `${swishCode('vec4<f32>')}
${writeFour('write_inner_gate', innerGate)}
${readFour('read_inner', inner)}
${writeFour('write_active', active)}
fn put(at: u32, count: u32, value: vec4<f32>) {
  write_inner_gate(at, count, value);
  write_active(at, count, swish(value) * read_inner(at, count));
}`,
  )

/** Takes the gradient of active; writes dInner, and computes active again for the gradient of down. */
export const geluGradientOutput = ({
  inner,
  active,
  dInner,
}: Readonly<Record<'inner' | 'active' | 'dInner', Lines>>): Output =>
  outputOf(
    { inner, active, dInner },
    ({ inner, active, dInner }) => `${geluCode('vec4<f32>')}
${readFour('read_inner', inner)}
${writeFour('write_active', active)}
${writeFour('write_d_inner', dInner)}
fn put(at: u32, count: u32, value: vec4<f32>) {
  let inner = read_inner(at, count);
  write_active(at, count, gelu(inner));
  write_d_inner(at, count, value * gelu_slope(inner));
}`,
  )

/** Takes dh, the gradient of h = swish(g) ∘ u; writes du = dh ∘ swish(g), dg = dh ∘ u ∘ swish′(g), and h. */
export const swishGradientOutput = ({
  inner,
  innerGate,
  active,
  dInner,
  dInnerGate,
}: Readonly<Record<'inner' | 'innerGate' | 'active' | 'dInner' | 'dInnerGate', Lines>>): Output =>
  outputOf(
    { inner, innerGate, active, dInner, dInnerGate },
    ({ inner, innerGate, active, dInner, dInnerGate }) => `${swishCode('vec4<f32>')}
${readFour('read_inner', inner)}
${readFour('read_inner_gate', innerGate)}
${writeFour('write_active', active)}
${writeFour('write_d_inner', dInner)}
${writeFour('write_d_inner_gate', dInnerGate)}
fn put(at: u32, count: u32, value: vec4<f32>) {
  let inner = read_inner(at, count);
  let gate = read_inner_gate(at, count);
  let swished = swish(gate);
  write_active(at, count, swished * inner);
  write_d_inner(at, count, value * swished);
  write_d_inner_gate(at, count, value * inner * swish_slope(gate));
}`,
  )
