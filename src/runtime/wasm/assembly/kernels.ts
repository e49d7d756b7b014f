/**
 * The kernels: AssemblyScript, compiled to WebAssembly SIMD over an imported shared memory.
 *
 * There are no objects and there is no collector: a pointer is a byte offset into the arena. Offsets go
 * up to 4 GiB, so they are unsigned, and the end of an array can be offset 0: loops count what is left
 * and never compare pointers. Every kernel ends with a scalar tail that rounds as the lanes do, so the
 * result for an element does not depend on where a range was cut.
 */

/** p ← keep·p − size·m/(correction·√v + ε) with m ← β₁m + first·g and v ← β₂v + second·g². */
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
  for (; left >= 4; left -= 4) {
    const gradient = v128.load(g)
    const newM = f32x4.add(f32x4.mul(v128.load(m), beta14), f32x4.mul(gradient, first4))
    const newV = f32x4.add(f32x4.mul(v128.load(v), beta24), f32x4.mul(f32x4.mul(gradient, gradient), second4))
    const root = f32x4.add(f32x4.mul(f32x4.sqrt(newV), correction4), epsilon4)
    const step = f32x4.mul(f32x4.div(newM, root), size4)
    v128.store(m, newM)
    v128.store(v, newV)
    v128.store(p, f32x4.sub(f32x4.mul(v128.load(p), keep4), step))
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
 * The sum of squares in float64: a square of a float32 is exact there and never overflows, so the sum is
 * not finite exactly when some element is not. One core reads four places of memory twice as fast as one,
 * and two accumulators for each hide the latency of the addition.
 */
export function sumOfSquares(p: usize, count: u32): f64 {
  const quarter: u32 = (count / 4) & ~3
  const stride: usize = quarter * 4
  let p0 = p
  let p1: usize = p0 + stride
  let p2: usize = p1 + stride
  let p3: usize = p2 + stride
  let a0 = f64x2.splat(0)
  let a1 = f64x2.splat(0)
  let a2 = f64x2.splat(0)
  let a3 = f64x2.splat(0)
  let b0 = f64x2.splat(0)
  let b1 = f64x2.splat(0)
  let b2 = f64x2.splat(0)
  let b3 = f64x2.splat(0)
  for (let left = quarter; left > 0; left -= 4) {
    a0 = f64x2.add(a0, squaredPair(p0))
    b0 = f64x2.add(b0, squaredPair(p0 + 8))
    a1 = f64x2.add(a1, squaredPair(p1))
    b1 = f64x2.add(b1, squaredPair(p1 + 8))
    a2 = f64x2.add(a2, squaredPair(p2))
    b2 = f64x2.add(b2, squaredPair(p2 + 8))
    a3 = f64x2.add(a3, squaredPair(p3))
    b3 = f64x2.add(b3, squaredPair(p3 + 8))
    p0 += 16
    p1 += 16
    p2 += 16
    p3 += 16
  }
  const a = f64x2.add(f64x2.add(a0, a1), f64x2.add(a2, a3))
  const b = f64x2.add(f64x2.add(b0, b1), f64x2.add(b2, b3))
  const pair = f64x2.add(a, b)
  let sum = f64x2.extract_lane(pair, 0) + f64x2.extract_lane(pair, 1)
  for (let left = count - 4 * quarter; left > 0; left--) {
    const x: f64 = load<f32>(p3)
    sum += x * x
    p3 += 4
  }
  return sum
}

/** Two float32 at `p`, squared in float64. */
function squaredPair(p: usize): v128 {
  const x = f64x2.promote_low_f32x4(v128.load64_zero(p))
  return f64x2.mul(x, x)
}

/**
 * table[indices[r]] += rows[r] for the first `columns` columns of rows that are `width` wide, in the
 * order of r. Traps on an index that is not below `tableRows`.
 */
export function scatterAddRows(
  table: usize,
  tableRows: u32,
  rows: usize,
  indices: usize,
  rowCount: u32,
  width: u32,
  columns: u32,
): void {
  for (; rowCount > 0; rowCount--) {
    const index = load<u32>(indices)
    if (index >= tableRows) unreachable()
    let to: usize = table + index * width * 4
    let from = rows
    let left = columns
    for (; left >= 4; left -= 4) {
      v128.store(to, f32x4.add(v128.load(to), v128.load(from)))
      to += 16
      from += 16
    }
    for (; left > 0; left--) {
      store<f32>(to, load<f32>(to) + load<f32>(from))
      to += 4
      from += 4
    }
    rows += width * 4
    indices += 4
  }
}
