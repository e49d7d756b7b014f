/** Ends of products of experts that apply an activation, or its gradient, to each result. All arrays are [R, F]. */

import { geluCode, swishCode } from '../math.ts'
import { type Floats, type Lines, readFour, writeFour } from '../products/floats.ts'
import type { Output } from '../products/output.ts'

/**
 * An output made of a body that calls `read_NAME(at, count)` and `write_NAME(at, count, value)`.
 * @param access Arrays by their name in the body.
 */
function outputOfBody(
  access: Readonly<Record<string, { readonly lines: Lines; readonly write?: true }>>,
  functions: string,
  body: string,
): Output {
  const all = Object.entries(access)
  return {
    lines: all.map(([, { lines }]) => lines),
    code: (names, floats) => `${functions}
${all
  .map(([name, { write }], i) => {
    const [array, of] = [names[i] as string, floats[i] as Floats]
    return write ? writeFour(`write_${name}`, array, of) : readFour(`read_${name}`, array, of)
  })
  .join('\n')}
fn put(at: u32, count: u32, value: vec4<f32>) {${body}
}`,
  }
}

const read = (lines: Lines) => ({ lines })
const write = (lines: Lines) => ({ lines, write: true }) as const

/** Takes x·up: inner and active = gelu(inner). */
export const activeOutput = (inner: Lines, active: Lines): Output =>
  outputOfBody(
    { inner: write(inner), active: write(active) },
    geluCode('vec4<f32>'),
    `
  write_inner(at, count, value);
  write_active(at, count, gelu(value));`,
  )

/** Takes x·gate: inner_gate and active = swish(inner_gate) ∘ inner. */
export const activeSwishOutput = (innerGate: Lines, inner: Lines, active: Lines): Output =>
  outputOfBody(
    { inner_gate: write(innerGate), inner: read(inner), active: write(active) },
    swishCode('vec4<f32>'),
    `
  write_inner_gate(at, count, value);
  write_active(at, count, swish(value) * read_inner(at, count));`,
  )

/** Takes the gradient of active: active is computed again, for the gradient of down. */
export const geluGradientOutput = (of: { inner: Lines; active: Lines; dInner: Lines }): Output =>
  outputOfBody(
    { inner: read(of.inner), active: write(of.active), d_inner: write(of.dInner) },
    geluCode('vec4<f32>'),
    `
  let inner = read_inner(at, count);
  write_active(at, count, gelu(inner));
  write_d_inner(at, count, value * gelu_slope(inner));`,
  )

/** The same for h = swish(g) ∘ u: du = dh ∘ swish(g), dg = dh ∘ u ∘ swish′(g). */
export const swishGradientOutput = (of: {
  inner: Lines
  innerGate: Lines
  active: Lines
  dInner: Lines
  dInnerGate: Lines
}): Output =>
  outputOfBody(
    {
      inner: read(of.inner),
      inner_gate: read(of.innerGate),
      active: write(of.active),
      d_inner: write(of.dInner),
      d_inner_gate: write(of.dInnerGate),
    },
    swishCode('vec4<f32>'),
    `
  let inner = read_inner(at, count);
  let gate = read_inner_gate(at, count);
  let swished = swish(gate);
  write_active(at, count, swished * inner);
  write_d_inner(at, count, value * swished);
  write_d_inner_gate(at, count, value * inner * swish_slope(gate));`,
  )
