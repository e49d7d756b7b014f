/**
 * A row times a matrix: what a token of a text is made of. Each float of the matrix is read once, so these
 * loops have to be as fast as memory: several rows of the matrix are read side by side, and the sums wait in
 * the first cache.
 *
 * The order of the additions depends on the shape alone, and not on how columns are cut between threads.
 */

/** out += x·w of x [rows] and w [rows, columns], whose rows are `stride` floats apart. */
export function rowTimes(x: usize, w: usize, out: usize, rows: u32, columns: u32, stride: u32): void {
  const step: usize = stride * 4
  for (; rows >= 8; rows -= 8) {
    const x0 = v128.load32_splat(x)
    const x1 = v128.load32_splat(x, 4)
    const x2 = v128.load32_splat(x, 8)
    const x3 = v128.load32_splat(x, 12)
    const x4 = v128.load32_splat(x, 16)
    const x5 = v128.load32_splat(x, 20)
    const x6 = v128.load32_splat(x, 24)
    const x7 = v128.load32_splat(x, 28)
    let w0 = w
    let w1 = w0 + step
    let w2 = w1 + step
    let w3 = w2 + step
    let w4 = w3 + step
    let w5 = w4 + step
    let w6 = w5 + step
    let w7 = w6 + step
    let to = out
    let left = columns
    for (; left >= 4; left -= 4) {
      const a = f32x4.add(f32x4.mul(x0, v128.load(w0)), f32x4.mul(x1, v128.load(w1)))
      const b = f32x4.add(f32x4.mul(x2, v128.load(w2)), f32x4.mul(x3, v128.load(w3)))
      const c = f32x4.add(f32x4.mul(x4, v128.load(w4)), f32x4.mul(x5, v128.load(w5)))
      const d = f32x4.add(f32x4.mul(x6, v128.load(w6)), f32x4.mul(x7, v128.load(w7)))
      v128.store(to, f32x4.add(v128.load(to), f32x4.add(f32x4.add(a, b), f32x4.add(c, d))))
      to += 16
      w0 += 16
      w1 += 16
      w2 += 16
      w3 += 16
      w4 += 16
      w5 += 16
      w6 += 16
      w7 += 16
    }
    for (; left > 0; left--) {
      const a: f32 = load<f32>(x) * load<f32>(w0) + load<f32>(x, 4) * load<f32>(w1)
      const b: f32 = load<f32>(x, 8) * load<f32>(w2) + load<f32>(x, 12) * load<f32>(w3)
      const c: f32 = load<f32>(x, 16) * load<f32>(w4) + load<f32>(x, 20) * load<f32>(w5)
      const d: f32 = load<f32>(x, 24) * load<f32>(w6) + load<f32>(x, 28) * load<f32>(w7)
      store<f32>(to, load<f32>(to) + (a + b + (c + d)))
      to += 4
      w0 += 4
      w1 += 4
      w2 += 4
      w3 += 4
      w4 += 4
      w5 += 4
      w6 += 4
      w7 += 4
    }
    x += 32
    w += 8 * step
  }
  for (; rows > 0; rows--) {
    addTimes(out, w, load<f32>(x), columns)
    x += 4
    w += step
  }
}

/** out += factor·w of `count` floats. */
function addTimes(out: usize, w: usize, factor: f32, count: u32): void {
  const factor4 = f32x4.splat(factor)
  for (; count >= 4; count -= 4) {
    v128.store(out, f32x4.add(v128.load(out), f32x4.mul(factor4, v128.load(w))))
    out += 16
    w += 16
  }
  for (; count > 0; count--) {
    store<f32>(out, load<f32>(out) + factor * load<f32>(w))
    out += 4
    w += 4
  }
}

/** out += w·x of w [rows, width], whose rows are `stride` floats apart, and x [width]. */
export function rowTimesTransposed(x: usize, w: usize, out: usize, rows: u32, width: u32, stride: u32): void {
  const step: usize = stride * 4
  for (; rows >= 2; rows -= 2) {
    let from = x
    let w0 = w
    let w1 = w + step
    let a0 = f32x4.splat(0)
    let a1 = f32x4.splat(0)
    let b0 = f32x4.splat(0)
    let b1 = f32x4.splat(0)
    let left = width
    for (; left >= 8; left -= 8) {
      const first = v128.load(from)
      const second = v128.load(from, 16)
      a0 = f32x4.add(a0, f32x4.mul(first, v128.load(w0)))
      a1 = f32x4.add(a1, f32x4.mul(second, v128.load(w0, 16)))
      b0 = f32x4.add(b0, f32x4.mul(first, v128.load(w1)))
      b1 = f32x4.add(b1, f32x4.mul(second, v128.load(w1, 16)))
      from += 32
      w0 += 32
      w1 += 32
    }
    let a = laneSum(f32x4.add(a0, a1))
    let b = laneSum(f32x4.add(b0, b1))
    for (; left > 0; left--) {
      a += load<f32>(from) * load<f32>(w0)
      b += load<f32>(from) * load<f32>(w1)
      from += 4
      w0 += 4
      w1 += 4
    }
    store<f32>(out, load<f32>(out) + a)
    store<f32>(out, load<f32>(out, 4) + b, 4)
    out += 8
    w += 2 * step
  }
  if (rows > 0) {
    let a0 = f32x4.splat(0)
    let a1 = f32x4.splat(0)
    let left = width
    for (; left >= 8; left -= 8) {
      a0 = f32x4.add(a0, f32x4.mul(v128.load(x), v128.load(w)))
      a1 = f32x4.add(a1, f32x4.mul(v128.load(x, 16), v128.load(w, 16)))
      x += 32
      w += 32
    }
    let a = laneSum(f32x4.add(a0, a1))
    for (; left > 0; left--) {
      a += load<f32>(x) * load<f32>(w)
      x += 4
      w += 4
    }
    store<f32>(out, load<f32>(out) + a)
  }
}

function laneSum(x: v128): f32 {
  const even: f32 = f32x4.extract_lane(x, 0) + f32x4.extract_lane(x, 2)
  const odd: f32 = f32x4.extract_lane(x, 1) + f32x4.extract_lane(x, 3)
  return even + odd
}
