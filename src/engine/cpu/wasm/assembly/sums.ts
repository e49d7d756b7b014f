/**
 * Arena kernels in AssemblyScript, which is compiled to WebAssembly SIMD over an imported shared memory.
 *
 * There are no objects and no garbage collector: a pointer is a byte offset into the arena. Offsets go up to
 * 4 GiB, so they are unsigned, and the end of an array can wrap to offset 0. So loops count the remaining elements
 * and never compare pointers. An element-wise kernel ends with a scalar tail that rounds like the lanes, so the
 * result for an element does not depend on where a range was cut.
 *
 * Main loops are unrolled to hundreds of bytes per array, for memory speed and not for arithmetic: a processor
 * prefetches by the stride of each load instruction, and with a stride of one vector it hardly prefetches.
 */

/**
 * The sum of squares in float64. The square of a float32 is exact there and never overflows, so the sum is
 * finite if and only if all elements are. A core reads four distant streams of memory faster than one, and
 * eight accumulators hide the latency of the additions.
 */
export function sumOfSquares(p: usize, count: u32): f64 {
  const quarter: u32 = (count / 4) & ~31
  let q: usize = p + quarter * 4
  let r: usize = q + quarter * 4
  let t: usize = r + quarter * 4
  let s0 = f64x2.splat(0)
  let s1 = f64x2.splat(0)
  let s2 = f64x2.splat(0)
  let s3 = f64x2.splat(0)
  let s4 = f64x2.splat(0)
  let s5 = f64x2.splat(0)
  let s6 = f64x2.splat(0)
  let s7 = f64x2.splat(0)
  for (let left = quarter; left > 0; left -= 32) {
    s0 = Inlined.addSquares16(s0, p)
    s1 = Inlined.addSquares16(s1, q)
    s2 = Inlined.addSquares16(s2, r)
    s3 = Inlined.addSquares16(s3, t)
    s4 = Inlined.addSquares16(s4, p + 64)
    s5 = Inlined.addSquares16(s5, q + 64)
    s6 = Inlined.addSquares16(s6, r + 64)
    s7 = Inlined.addSquares16(s7, t + 64)
    p += 128
    q += 128
    r += 128
    t += 128
  }
  let left = count - 4 * quarter
  for (; left >= 4; left -= 4) {
    s0 = Inlined.addSquares4(s0, t)
    t += 16
  }
  const even = f64x2.add(f64x2.add(s0, s2), f64x2.add(s4, s6))
  const odd = f64x2.add(f64x2.add(s1, s3), f64x2.add(s5, s7))
  let sum = Inlined.sum2(f64x2.add(even, odd))
  for (; left > 0; left--) {
    const x: f64 = load<f32>(t)
    sum += x * x
    t += 4
  }
  return sum
}

/** to ← to + from, element by element. */
export function add(to: usize, from: usize, count: u32): void {
  for (; count >= 8; count -= 8) {
    v128.store(to, f32x4.add(v128.load(to), v128.load(from)))
    v128.store(to + 16, f32x4.add(v128.load(to + 16), v128.load(from + 16)))
    to += 32
    from += 32
  }
  for (; count > 0; count--) {
    store<f32>(to, load<f32>(to) + load<f32>(from))
    to += 4
    from += 4
  }
}

/**
 * table[indices[r]] += rows[r] for the first `columns` columns of rows of `width`, in the order of r. Traps on an
 * index that is not below `tableRows`.
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

/**
 * Inlined bodies of main loops; the number in a name is how many elements of each array it processes.
 * They are in a class, because AssemblyScript inlines decorated functions and TypeScript allows decorators only on
 * methods.
 */
// biome-ignore lint/complexity/noStaticOnlyClass: see above
class Inlined {
  @inline
  static addSquares16(sum: v128, p: usize): v128 {
    const first = Inlined.addSquares4(Inlined.addSquares4(sum, p), p + 16)
    return Inlined.addSquares4(Inlined.addSquares4(first, p + 32), p + 48)
  }

  @inline
  static addSquares4(sum: v128, p: usize): v128 {
    return Inlined.addSquares2(Inlined.addSquares2(sum, p), p + 8)
  }

  @inline
  static addSquares2(sum: v128, p: usize): v128 {
    const x = f64x2.promote_low_f32x4(v128.load64_zero(p))
    return f64x2.add(sum, f64x2.mul(x, x))
  }

  @inline
  static sum2(x: v128): f64 {
    return f64x2.extract_lane(x, 0) + f64x2.extract_lane(x, 1)
  }
}
