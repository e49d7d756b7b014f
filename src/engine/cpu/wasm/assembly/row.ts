/**
 * The inner loops of rows.ts, on one row of `width` floats at any address. Floats are float32, or of a type that is
 * given: `f32`, or `u16` for bfloat16, which is the upper half of a float32.
 *
 * Sums run in lanes whose order depends only on the width. Loops are unrolled where measurements on rows in the
 * L2 cache showed a gain.
 */

/** The address of an absent array: the last byte of 4 GiB, where no float can start. */
export const absent: usize = 0xffffffff

/** Loads four floats from memory of type T. */
function load4<T>(from: usize): v128 {
  return isFloat<T>() ? v128.load(from) : i32x4.shl(v128.load16x4_u(from), 16)
}

/** Stores four floats to memory of type T, rounded to the nearest, ties to even. */
function store4<T>(to: usize, x: v128): void {
  if (isFloat<T>()) {
    v128.store(to, x)
    return
  }
  const odd = v128.and(i32x4.shr_u(x, 16), i32x4.splat(1))
  const rounded = i32x4.shr_u(i32x4.add(i32x4.add(x, i32x4.splat(0x7fff)), odd), 16)
  v128.store64_lane(to, i16x8.narrow_i32x4_u(rounded, rounded), 0)
}

/** Loads a float from memory of type T. */
function load1<T>(from: usize): f32 {
  return isFloat<T>() ? load<f32>(from) : reinterpret<f32>((<u32>load<u16>(from)) << 16)
}

/** Stores a float to memory of type T. */
function store1<T>(to: usize, x: f32): void {
  if (isFloat<T>()) {
    store<f32>(to, x)
    return
  }
  const bits = reinterpret<u32>(x)
  store<u16>(to, <u16>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16))
}

export function scaleRow<From, To>(from: usize, to: usize, width: u32, scale: f32): void {
  const scale4 = f32x4.splat(scale)
  for (; width >= 4; width -= 4) {
    store4<To>(to, f32x4.mul(load4<From>(from), scale4))
    from += 4 * sizeof<From>()
    to += 4 * sizeof<To>()
  }
  for (; width > 0; width--) {
    store1<To>(to, load1<From>(from) * scale)
    from += sizeof<From>()
    to += sizeof<To>()
  }
}

/** Rotates pairs as `rotateHeads` does, from memory of type From to memory of type To. */
export function rotateRow<From, To>(
  from: usize,
  to: usize,
  half: u32,
  cos: usize,
  sin: usize,
  scale: f32,
  sign: f32,
): void {
  const scale4 = f32x4.splat(scale)
  const sign4 = f32x4.splat(sign)
  const across: usize = half * sizeof<From>()
  const toSecond: usize = half * sizeof<To>()
  for (; half >= 4; half -= 4) {
    const a = load4<From>(from)
    const b = load4<From>(from + across)
    const c = v128.load(cos)
    const s = f32x4.mul(v128.load(sin), sign4)
    store4<To>(to, f32x4.mul(f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)), scale4))
    store4<To>(to + toSecond, f32x4.mul(f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s)), scale4))
    from += 4 * sizeof<From>()
    to += 4 * sizeof<To>()
    cos += 16
    sin += 16
  }
  for (; half > 0; half--) {
    const a = load1<From>(from)
    const b = load1<From>(from + across)
    const c = load<f32>(cos)
    const s: f32 = load<f32>(sin) * sign
    store1<To>(to, (a * c - b * s) * scale)
    store1<To>(to + toSecond, (b * c + a * s) * scale)
    from += sizeof<From>()
    to += sizeof<To>()
    cos += 4
    sin += 4
  }
}

/** y = x·r·weight, with y in memory of type T. */
export function normRow<T>(x: usize, weight: usize, y: usize, width: u32, r: f32): void {
  const r4 = f32x4.splat(r)
  for (; width >= 16; width -= 16) {
    store4<T>(y, f32x4.mul(f32x4.mul(v128.load(x), r4), v128.load(weight)))
    store4<T>(y + 4 * sizeof<T>(), f32x4.mul(f32x4.mul(v128.load(x, 16), r4), v128.load(weight, 16)))
    store4<T>(y + 8 * sizeof<T>(), f32x4.mul(f32x4.mul(v128.load(x, 32), r4), v128.load(weight, 32)))
    store4<T>(y + 12 * sizeof<T>(), f32x4.mul(f32x4.mul(v128.load(x, 48), r4), v128.load(weight, 48)))
    x += 64
    weight += 64
    y += 16 * sizeof<T>()
  }
  for (; width >= 4; width -= 4) {
    store4<T>(y, f32x4.mul(f32x4.mul(v128.load(x), r4), v128.load(weight)))
    x += 16
    weight += 16
    y += 4 * sizeof<T>()
  }
  for (; width > 0; width--) {
    store1<T>(y, load<f32>(x) * r * load<f32>(weight))
    x += 4
    weight += 4
    y += sizeof<T>()
  }
}

/** out = base + w·a, with a in memory of type T. */
export function addOne<T>(base: usize, a: usize, w: f32, out: usize, width: u32): void {
  const w4 = f32x4.splat(w)
  for (; width >= 4; width -= 4) {
    v128.store(out, f32x4.add(v128.load(base), f32x4.mul(load4<T>(a), w4)))
    base += 16
    a += 4 * sizeof<T>()
    out += 16
  }
  for (; width > 0; width--) {
    store<f32>(out, load<f32>(base) + load1<T>(a) * w)
    base += 4
    a += sizeof<T>()
    out += 4
  }
}

/** out = base + w·a + v·b, with a and b in memory of type T; an absent base is 0. */
export function addTwo<T>(base: usize, a: usize, w: f32, b: usize, v: f32, out: usize, width: u32): void {
  const w4 = f32x4.splat(w)
  const v4 = f32x4.splat(v)
  for (; width >= 4; width -= 4) {
    let sum = f32x4.mul(load4<T>(a), w4)
    if (base !== absent) {
      sum = f32x4.add(v128.load(base), sum)
      base += 16
    }
    v128.store(out, f32x4.add(sum, f32x4.mul(load4<T>(b), v4)))
    a += 4 * sizeof<T>()
    b += 4 * sizeof<T>()
    out += 16
  }
  for (; width > 0; width--) {
    let sum: f32 = load1<T>(a) * w
    if (base !== absent) {
      sum = load<f32>(base) + sum
      base += 4
    }
    store<f32>(out, sum + load1<T>(b) * v)
    a += sizeof<T>()
    b += sizeof<T>()
    out += 4
  }
}

/** Σ a·b of a and b in memory of types A and B, in sixteen lanes of float32 whose sums are added in float64. */
export function dot<A, B>(a: usize, b: usize, width: u32): f64 {
  let s0 = f32x4.splat(0)
  let s1 = f32x4.splat(0)
  let s2 = f32x4.splat(0)
  let s3 = f32x4.splat(0)
  for (; width >= 16; width -= 16) {
    s0 = f32x4.add(s0, f32x4.mul(load4<A>(a), load4<B>(b)))
    s1 = f32x4.add(s1, f32x4.mul(load4<A>(a + 4 * sizeof<A>()), load4<B>(b + 4 * sizeof<B>())))
    s2 = f32x4.add(s2, f32x4.mul(load4<A>(a + 8 * sizeof<A>()), load4<B>(b + 8 * sizeof<B>())))
    s3 = f32x4.add(s3, f32x4.mul(load4<A>(a + 12 * sizeof<A>()), load4<B>(b + 12 * sizeof<B>())))
    a += 16 * sizeof<A>()
    b += 16 * sizeof<B>()
  }
  let sum = laneSum(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)))
  for (; width > 0; width--) {
    sum += <f64>load1<A>(a) * <f64>load1<B>(b)
    a += sizeof<A>()
    b += sizeof<B>()
  }
  return sum
}

/** Σ a·b·w, computed like `dot`. */
export function weightedDot(a: usize, b: usize, w: usize, width: u32): f64 {
  let s0 = f32x4.splat(0)
  let s1 = f32x4.splat(0)
  for (; width >= 8; width -= 8) {
    s0 = f32x4.add(s0, f32x4.mul(f32x4.mul(v128.load(a), v128.load(w)), v128.load(b)))
    s1 = f32x4.add(s1, f32x4.mul(f32x4.mul(v128.load(a, 16), v128.load(w, 16)), v128.load(b, 16)))
    a += 32
    b += 32
    w += 32
  }
  let sum = laneSum(f32x4.add(s0, s1))
  for (; width > 0; width--) {
    sum += <f64>load<f32>(a) * <f64>load<f32>(w) * <f64>load<f32>(b)
    a += 4
    b += 4
    w += 4
  }
  return sum
}

/** Σ x². Blocks keep the lanes from overflowing float32 for |x| up to 1e18. */
export function squares(x: usize, width: u32): f64 {
  let sum: f64 = 0
  for (; width > 1024; width -= 1024) {
    sum += dot<f32, f32>(x, x, 1024)
    x += 4096
  }
  return sum + dot<f32, f32>(x, x, width)
}

/** dx = r·(dy·weight) − along·x (+ addend), and dWeight += r·dy·x. */
export function gradientRow(
  dy: usize,
  x: usize,
  weight: usize,
  addend: usize,
  dx: usize,
  dWeight: usize,
  width: u32,
  r: f32,
  along: f32,
): void {
  const r4 = f32x4.splat(r)
  const along4 = f32x4.splat(along)
  for (; width >= 8; width -= 8) {
    const xa = v128.load(x)
    const xb = v128.load(x, 16)
    const scaledA = f32x4.mul(v128.load(dy), r4)
    const scaledB = f32x4.mul(v128.load(dy, 16), r4)
    v128.store(dWeight, f32x4.add(v128.load(dWeight), f32x4.mul(scaledA, xa)))
    v128.store(dWeight, f32x4.add(v128.load(dWeight, 16), f32x4.mul(scaledB, xb)), 16)
    let a = f32x4.sub(f32x4.mul(scaledA, v128.load(weight)), f32x4.mul(along4, xa))
    let b = f32x4.sub(f32x4.mul(scaledB, v128.load(weight, 16)), f32x4.mul(along4, xb))
    if (addend !== absent) {
      a = f32x4.add(a, v128.load(addend))
      b = f32x4.add(b, v128.load(addend, 16))
      addend += 32
    }
    v128.store(dx, a)
    v128.store(dx, b, 16)
    dy += 32
    x += 32
    weight += 32
    dx += 32
    dWeight += 32
  }
  for (; width > 0; width--) {
    const x1 = load<f32>(x)
    const scaled: f32 = load<f32>(dy) * r
    store<f32>(dWeight, load<f32>(dWeight) + scaled * x1)
    let sum: f32 = scaled * load<f32>(weight) - along * x1
    if (addend !== absent) {
      sum += load<f32>(addend)
      addend += 4
    }
    store<f32>(dx, sum)
    dy += 4
    x += 4
    weight += 4
    dx += 4
    dWeight += 4
  }
}

/** The largest element, or NaN if there is one. The loop has no branches on elements, so that loads run ahead. */
export function largestOf(x: usize, count: u32): f32 {
  let best: f32 = -Infinity
  let m0 = f32x4.splat(best)
  let m1 = m0
  let m2 = m0
  let m3 = m0
  let nan0 = i32x4.splat(0)
  let nan1 = nan0
  for (; count >= 16; count -= 16) {
    const a = v128.load(x)
    const b = v128.load(x, 16)
    const c = v128.load(x, 32)
    const d = v128.load(x, 48)
    m0 = f32x4.pmax(m0, a)
    m1 = f32x4.pmax(m1, b)
    m2 = f32x4.pmax(m2, c)
    m3 = f32x4.pmax(m3, d)
    nan0 = v128.or(nan0, v128.or(f32x4.ne(a, a), f32x4.ne(b, b)))
    nan1 = v128.or(nan1, v128.or(f32x4.ne(c, c), f32x4.ne(d, d)))
    x += 64
  }
  if (v128.any_true(v128.or(nan0, nan1))) return NaN
  const m = f32x4.pmax(f32x4.pmax(m0, m1), f32x4.pmax(m2, m3))
  best = max<f32>(
    max<f32>(f32x4.extract_lane(m, 0), f32x4.extract_lane(m, 1)),
    max<f32>(f32x4.extract_lane(m, 2), f32x4.extract_lane(m, 3)),
  )
  for (; count > 0; count--) {
    best = max<f32>(best, load<f32>(x))
    x += 4
  }
  return best
}

function laneSum(s: v128): f64 {
  const pair = f64x2.add(f64x2.promote_low_f32x4(s), f64x2.promote_low_f32x4(i32x4.shuffle(s, s, 2, 3, 2, 3)))
  return f64x2.extract_lane(pair, 0) + f64x2.extract_lane(pair, 1)
}

/**
 * Loads every cache line of `heads` heads of some rows, with `bytes` bytes to an element. It is needed because the
 * loads of a loop that computes do not run far enough ahead to hide the latency of memory. (Compilers keep loads
 * without a use, because they may trap.)
 */
export function touch(from: usize, bytes: u32, stride: u32, apart: u32, rows: u32, heads: u32, width: u32): void {
  for (; rows > 0; rows--) {
    for (let h: u32 = 0; h < heads; h++) {
      const head = from + h * apart * bytes
      for (let at: u32 = 0; at < width; at += 64 / bytes) load<u16>(head + at * bytes)
    }
    from += stride * bytes
  }
}
