/** AdamW on ranges of an arena; `sums.ts` says how such kernels are written. */

/** The update of AdamW: p ← keep·p − size·m/(correction·√v + ε) with m ← β₁m + first·g and v ← β₂v + second·g². */
export function adamw(
  p: usize,
  g: usize,
  m: usize,
  v: usize,
  count: u32,
  first: f32,
  second: f32,
  beta1: f32,
  beta2: f32,
  size: f32,
  correction: f32,
  epsilon: f32,
  keep: f32,
): void {
  const first4 = f32x4.splat(first)
  const second4 = f32x4.splat(second)
  const beta14 = f32x4.splat(beta1)
  const beta24 = f32x4.splat(beta2)
  const size4 = f32x4.splat(size)
  const correction4 = f32x4.splat(correction)
  const epsilon4 = f32x4.splat(epsilon)
  const keep4 = f32x4.splat(keep)
  let left = count
  for (; left >= 128; left -= 128) {
    Inlined.adamw16(p, g, m, v, 0, first4, second4, beta14, beta24, size4, correction4, epsilon4, keep4)
    Inlined.adamw16(p, g, m, v, 64, first4, second4, beta14, beta24, size4, correction4, epsilon4, keep4)
    Inlined.adamw16(p, g, m, v, 128, first4, second4, beta14, beta24, size4, correction4, epsilon4, keep4)
    Inlined.adamw16(p, g, m, v, 192, first4, second4, beta14, beta24, size4, correction4, epsilon4, keep4)
    Inlined.adamw16(p, g, m, v, 256, first4, second4, beta14, beta24, size4, correction4, epsilon4, keep4)
    Inlined.adamw16(p, g, m, v, 320, first4, second4, beta14, beta24, size4, correction4, epsilon4, keep4)
    Inlined.adamw16(p, g, m, v, 384, first4, second4, beta14, beta24, size4, correction4, epsilon4, keep4)
    Inlined.adamw16(p, g, m, v, 448, first4, second4, beta14, beta24, size4, correction4, epsilon4, keep4)
    p += 512
    g += 512
    m += 512
    v += 512
  }
  for (; left >= 4; left -= 4) {
    Inlined.adamw4(p, g, m, v, 0, first4, second4, beta14, beta24, size4, correction4, epsilon4, keep4)
    p += 16
    g += 16
    m += 16
    v += 16
  }
  for (; left > 0; left--) {
    const gradient = load<f32>(g)
    const newM: f32 = load<f32>(m) * beta1 + gradient * first
    const newV: f32 = load<f32>(v) * beta2 + gradient * gradient * second
    const step: f32 = (newM / (sqrt<f32>(newV) * correction + epsilon)) * size
    store<f32>(m, newM)
    store<f32>(v, newV)
    store<f32>(p, load<f32>(p) * keep - step)
    p += 4
    g += 4
    m += 4
    v += 4
  }
}

/**
 * Inlined bodies of main loops; the number in a name is how many elements of each array it processes.
 * They are in a class, because AssemblyScript inlines decorated functions and TypeScript allows decorators only on
 * methods.
 */
// biome-ignore lint/complexity/noStaticOnlyClass: see above
class Inlined {
  /** @param at Offset in bytes. */
  @inline
  static adamw4(
    p: usize,
    g: usize,
    m: usize,
    v: usize,
    at: usize,
    first: v128,
    second: v128,
    beta1: v128,
    beta2: v128,
    size: v128,
    correction: v128,
    epsilon: v128,
    keep: v128,
  ): void {
    const gradient = v128.load(g + at)
    const newM = f32x4.add(f32x4.mul(v128.load(m + at), beta1), f32x4.mul(gradient, first))
    const newV = f32x4.add(f32x4.mul(v128.load(v + at), beta2), f32x4.mul(f32x4.mul(gradient, gradient), second))
    const root = f32x4.add(f32x4.mul(f32x4.sqrt(newV), correction), epsilon)
    const step = f32x4.mul(f32x4.div(newM, root), size)
    v128.store(m + at, newM)
    v128.store(v + at, newV)
    v128.store(p + at, f32x4.sub(f32x4.mul(v128.load(p + at), keep), step))
  }

  @inline
  static adamw16(
    p: usize,
    g: usize,
    m: usize,
    v: usize,
    at: usize,
    first: v128,
    second: v128,
    beta1: v128,
    beta2: v128,
    size: v128,
    correction: v128,
    epsilon: v128,
    keep: v128,
  ): void {
    Inlined.adamw4(p, g, m, v, at, first, second, beta1, beta2, size, correction, epsilon, keep)
    Inlined.adamw4(p, g, m, v, at + 16, first, second, beta1, beta2, size, correction, epsilon, keep)
    Inlined.adamw4(p, g, m, v, at + 32, first, second, beta1, beta2, size, correction, epsilon, keep)
    Inlined.adamw4(p, g, m, v, at + 48, first, second, beta1, beta2, size, correction, epsilon, keep)
  }
}
