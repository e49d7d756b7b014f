/** Kernels of a row that need exponentials: softmax and activations. */
import { Elementary } from './elementary'

/** Softmax of `count` floats, in place. */
export function softmaxRow(x: usize, count: u32): void {
  const end: usize = x + <usize>count * 4
  let shift = v128.load32_splat(x)
  for (let at = x; at < end; at += 4) shift = f32x4.max(shift, v128.load32_splat(at))
  let sums = f32x4.splat(0)
  let at = x
  for (; at + 16 <= end; at += 16) {
    const power = Elementary.exp4(f32x4.sub(v128.load(at), shift))
    sums = f32x4.add(sums, power)
    v128.store(at, power)
  }
  let sum: f32 = f32x4.extract_lane(sums, 0) + f32x4.extract_lane(sums, 1)
  sum += f32x4.extract_lane(sums, 2) + f32x4.extract_lane(sums, 3)
  for (; at < end; at += 4) {
    const power = Elementary.exp4(f32x4.sub(v128.load32_splat(at), shift))
    sum += f32x4.extract_lane(power, 0)
    v128.store32_lane(at, power, 0)
  }
  const inverse: f32 = 1 / sum
  for (at = x; at + 16 <= end; at += 16) v128.store(at, f32x4.mul(v128.load(at), f32x4.splat(inverse)))
  for (; at < end; at += 4) store<f32>(at, load<f32>(at) * inverse)
}

/** out = gelu(Σ part) of parts [count, columns], whose rows are `stride` floats apart. */
export function geluParts(parts: usize, out: usize, count: u32, columns: u32, stride: u32): void {
  for (; columns >= 4; columns -= 4) {
    v128.store(out, gelu4(fourSums(parts, count, stride)))
    parts += 16
    out += 16
  }
  for (; columns > 0; columns--) {
    v128.store32_lane(out, gelu4(oneSum(parts, count, stride)), 0)
    parts += 4
    out += 4
  }
}

/** out = swish(Σ gate) ∘ Σ part, with the arguments of {@link geluParts}. */
export function swishParts(parts: usize, gates: usize, out: usize, count: u32, columns: u32, stride: u32): void {
  for (; columns >= 4; columns -= 4) {
    v128.store(out, f32x4.mul(swish4(fourSums(gates, count, stride)), fourSums(parts, count, stride)))
    parts += 16
    gates += 16
    out += 16
  }
  for (; columns > 0; columns--) {
    v128.store32_lane(out, f32x4.mul(swish4(oneSum(gates, count, stride)), oneSum(parts, count, stride)), 0)
    parts += 4
    gates += 4
    out += 4
  }
}

/** Sums of four columns of parts. */
function fourSums(part: usize, count: u32, stride: u32): v128 {
  let sum = v128.load(part)
  for (; count > 1; count--) {
    part += stride * 4
    sum = f32x4.add(sum, v128.load(part))
  }
  return sum
}

/** The sum of a column of parts, in every lane. */
function oneSum(part: usize, count: u32, stride: u32): v128 {
  let sum = v128.load32_splat(part)
  for (; count > 1; count--) {
    part += stride * 4
    sum = f32x4.add(sum, v128.load32_splat(part))
  }
  return sum
}

/**
 * GELU, x·Φ(x) = x·(1 + erf(x/√2))/2. With t = 1/(1 + p·|x|/√2), 1 − erf(|x|/√2) = poly(t)·exp(−x²/2), to 1.5e-7
 * (Abramowitz and Stegun 1964, 7.1.26); for negative x nothing cancels.
 */
function gelu4(x: v128): v128 {
  const z = f32x4.mul(f32x4.abs(x), f32x4.splat(<f32>Math.SQRT1_2))
  const one = f32x4.splat(1)
  const t = f32x4.div(one, f32x4.add(one, f32x4.mul(z, f32x4.splat(0.3275911))))
  let y = f32x4.splat(1.061405429)
  y = f32x4.add(f32x4.mul(y, t), f32x4.splat(-1.453152027))
  y = f32x4.add(f32x4.mul(y, t), f32x4.splat(1.421413741))
  y = f32x4.add(f32x4.mul(y, t), f32x4.splat(-0.284496736))
  y = f32x4.add(f32x4.mul(y, t), f32x4.splat(0.254829592))
  y = f32x4.mul(f32x4.mul(y, t), f32x4.mul(Elementary.exp4(f32x4.neg(f32x4.mul(z, z))), f32x4.splat(0.5)))
  const isNegative = f32x4.lt(x, f32x4.splat(0))
  return f32x4.mul(x, v128.bitselect(y, f32x4.sub(one, y), isNegative))
}

/** Swish, x / (1 + e⁻ˣ). */
function swish4(x: v128): v128 {
  return f32x4.div(x, f32x4.add(f32x4.splat(1), Elementary.exp4(f32x4.neg(x))))
}
