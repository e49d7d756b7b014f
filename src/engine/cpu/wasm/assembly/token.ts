/**
 * Products of a few rows and a matrix, for the next tokens of generated texts. Each float of the matrix is read once, so
 * these loops must be as fast as memory. A core reads four distant streams more than twice as fast as one. So rows
 * are taken from four parts of the matrix in turn, and the sums stay in the L1 cache.
 *
 * The order of the additions of a row depends only on the shape of the matrix, not on the other rows.
 */
import { touch } from './row'

/** Columns of a matrix that stay in the L1 cache while all rows are multiplied with them, a multiple of 16. */
const TILE: u32 = 512

/**
 * out += x·w for `count` rows x [rows] and w [rows, columns]. The table `places` has the address of x and of out for
 * each row, u32.
 */
export function rowsTimes(places: usize, count: u32, w: usize, rows: u32, columns: u32): void {
  const step: usize = columns * 4
  const part: u32 = rows / 4
  const far: usize = <usize>part * step
  const next: usize = <usize>part * 4
  const end: usize = places + <usize>count * 8
  let at: usize = 0
  for (let left = part; left > 0; left--) {
    for (let from: u32 = 0; from < columns; from += TILE) {
      const width = min(TILE, columns - from)
      const tile: usize = <usize>from * 4
      for (let place = places; place < end; place += 8)
        addFour(<usize>load<u32>(place) + at, next, w + tile, far, <usize>load<u32>(place, 4) + tile, width)
    }
    at += 4
    w += step
  }
  at += 3 * next
  w += 3 * far
  for (let left: u32 = rows - 4 * part; left > 0; left--) {
    for (let place = places; place < end; place += 8)
      addTimes(<usize>load<u32>(place, 4), w, load<f32>(<usize>load<u32>(place) + at), columns)
    at += 4
    w += step
  }
}

/** out += Σ x[i·next]·w[i·far] of four rows of w. The loop takes a cache line of each row at a time. */
function addFour(x: usize, next: usize, w: usize, far: usize, out: usize, columns: u32): void {
  const x0 = v128.load32_splat(x)
  const x1 = v128.load32_splat(x + next)
  const x2 = v128.load32_splat(x + 2 * next)
  const x3 = v128.load32_splat(x + 3 * next)
  let w0 = w
  let w1 = w0 + far
  let w2 = w1 + far
  let w3 = w2 + far
  for (; columns >= 16; columns -= 16) {
    let a = f32x4.add(v128.load(out), f32x4.mul(x0, v128.load(w0)))
    let b = f32x4.add(v128.load(out, 16), f32x4.mul(x0, v128.load(w0, 16)))
    let c = f32x4.add(v128.load(out, 32), f32x4.mul(x0, v128.load(w0, 32)))
    let d = f32x4.add(v128.load(out, 48), f32x4.mul(x0, v128.load(w0, 48)))
    a = f32x4.add(a, f32x4.mul(x1, v128.load(w1)))
    b = f32x4.add(b, f32x4.mul(x1, v128.load(w1, 16)))
    c = f32x4.add(c, f32x4.mul(x1, v128.load(w1, 32)))
    d = f32x4.add(d, f32x4.mul(x1, v128.load(w1, 48)))
    a = f32x4.add(a, f32x4.mul(x2, v128.load(w2)))
    b = f32x4.add(b, f32x4.mul(x2, v128.load(w2, 16)))
    c = f32x4.add(c, f32x4.mul(x2, v128.load(w2, 32)))
    d = f32x4.add(d, f32x4.mul(x2, v128.load(w2, 48)))
    v128.store(out, f32x4.add(a, f32x4.mul(x3, v128.load(w3))))
    v128.store(out, f32x4.add(b, f32x4.mul(x3, v128.load(w3, 16))), 16)
    v128.store(out, f32x4.add(c, f32x4.mul(x3, v128.load(w3, 32))), 32)
    v128.store(out, f32x4.add(d, f32x4.mul(x3, v128.load(w3, 48))), 48)
    out += 64
    w0 += 64
    w1 += 64
    w2 += 64
    w3 += 64
  }
  for (; columns > 0; columns--) {
    let a: f32 = load<f32>(out) + f32x4.extract_lane(x0, 0) * load<f32>(w0)
    a += f32x4.extract_lane(x1, 0) * load<f32>(w1)
    a += f32x4.extract_lane(x2, 0) * load<f32>(w2)
    store<f32>(out, a + f32x4.extract_lane(x3, 0) * load<f32>(w3))
    out += 4
    w0 += 4
    w1 += 4
    w2 += 4
    w3 += 4
  }
}

/** out += factor·w of `count` floats. */
export function addTimes(out: usize, w: usize, factor: f32, count: u32): void {
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

/** out = w·x of w [rows, width], whose rows are `stride` floats apart, and x [width]. */
export function rowTimesTransposed(x: usize, w: usize, out: usize, rows: u32, width: u32, stride: u32): void {
  const step: usize = stride * 4
  const part: u32 = rows / 4
  const far: usize = <usize>part * step
  const next: usize = <usize>part * 4
  for (let left = part; left > 0; left--) {
    fourDots(x, w, far, out, next, width)
    w += step
    out += 4
  }
  w += 3 * far
  out += 3 * next
  for (let left: u32 = rows - 4 * part; left > 0; left--) {
    fourDots(x, w, 0, out, 0, width)
    w += step
    out += 4
  }
}

/** out[i·next] = w[i·far]·x for four rows of w. */
function fourDots(x: usize, w: usize, far: usize, out: usize, next: usize, width: u32): void {
  let w0 = w
  let w1 = w0 + far
  let w2 = w1 + far
  let w3 = w2 + far
  let a0 = f32x4.splat(0)
  let a1 = f32x4.splat(0)
  let b0 = f32x4.splat(0)
  let b1 = f32x4.splat(0)
  let c0 = f32x4.splat(0)
  let c1 = f32x4.splat(0)
  let d0 = f32x4.splat(0)
  let d1 = f32x4.splat(0)
  for (; width >= 8; width -= 8) {
    const first = v128.load(x)
    const second = v128.load(x, 16)
    a0 = f32x4.add(a0, f32x4.mul(first, v128.load(w0)))
    a1 = f32x4.add(a1, f32x4.mul(second, v128.load(w0, 16)))
    b0 = f32x4.add(b0, f32x4.mul(first, v128.load(w1)))
    b1 = f32x4.add(b1, f32x4.mul(second, v128.load(w1, 16)))
    c0 = f32x4.add(c0, f32x4.mul(first, v128.load(w2)))
    c1 = f32x4.add(c1, f32x4.mul(second, v128.load(w2, 16)))
    d0 = f32x4.add(d0, f32x4.mul(first, v128.load(w3)))
    d1 = f32x4.add(d1, f32x4.mul(second, v128.load(w3, 16)))
    x += 32
    w0 += 32
    w1 += 32
    w2 += 32
    w3 += 32
  }
  let a = laneSum(f32x4.add(a0, a1))
  let b = laneSum(f32x4.add(b0, b1))
  let c = laneSum(f32x4.add(c0, c1))
  let d = laneSum(f32x4.add(d0, d1))
  for (; width > 0; width--) {
    const factor = load<f32>(x)
    a += factor * load<f32>(w0)
    b += factor * load<f32>(w1)
    c += factor * load<f32>(w2)
    d += factor * load<f32>(w3)
    x += 4
    w0 += 4
    w1 += 4
    w2 += 4
    w3 += 4
  }
  store<f32>(out, a)
  store<f32>(out + next, b)
  store<f32>(out + 2 * next, c)
  store<f32>(out + 3 * next, d)
}

function laneSum(x: v128): f32 {
  const even: f32 = f32x4.extract_lane(x, 0) + f32x4.extract_lane(x, 2)
  const odd: f32 = f32x4.extract_lane(x, 1) + f32x4.extract_lane(x, 3)
  return even + odd
}

/**
 * Scores of `heads` heads of queries with the keys of `positions` positions: scores[h, p] = query[h]·keys[p, key of h].
 * The heads have `size` floats and are numbered from `first`; `perKey` consecutive heads share a head of keys. Rows of
 * keys are `stride` floats apart, rows of scores `scoreStride` floats. A row of keys is read once, for all heads.
 */
export function cachedScores(
  query: usize,
  keys: usize,
  scores: usize,
  positions: u32,
  first: u32,
  heads: u32,
  size: u32,
  perKey: u32,
  stride: u32,
  scoreStride: u32,
): void {
  const far: usize = stride * 4
  const bytes: usize = size * 4
  for (let p: u32 = 0; p < positions; ) {
    if (p % AHEAD === 0) touchAhead(keys, positions - p, first, heads, size, perKey, stride)
    const four = positions - p >= 4
    for (let h: u32 = 0; h < heads; h++) {
      const key = keys + <usize>((first + h) / perKey) * bytes
      const to = scores + (h * scoreStride + p) * 4
      if (four) fourDots(query + <usize>h * bytes, key, far, to, 4, size)
      else fourDots(query + <usize>h * bytes, key, 0, to, 0, size)
    }
    const step: u32 = four ? 4 : 1
    keys += <usize>step * far
    p += step
  }
}

/** out[h] += Σ_p scores[h, p]·values[p, key of h], with the arguments of {@link cachedScores}. */
export function cachedValues(
  scores: usize,
  values: usize,
  out: usize,
  positions: u32,
  first: u32,
  heads: u32,
  size: u32,
  perKey: u32,
  stride: u32,
  scoreStride: u32,
): void {
  const far: usize = stride * 4
  const bytes: usize = size * 4
  for (let p: u32 = 0; p < positions; ) {
    if (p % AHEAD === 0) touchAhead(values, positions - p, first, heads, size, perKey, stride)
    const four = positions - p >= 4
    for (let h: u32 = 0; h < heads; h++) {
      const value = values + <usize>((first + h) / perKey) * bytes
      const from = scores + (h * scoreStride + p) * 4
      if (four) addFour(from, 4, value, far, out + <usize>h * bytes, size)
      else addTimes(out + <usize>h * bytes, value, load<f32>(from), size)
    }
    const step: u32 = four ? 4 : 1
    values += <usize>step * far
    p += step
  }
}

/** Number of rows of a cache that are fetched at once, a multiple of 4. */
const AHEAD: u32 = 8

/** Fetches the heads of keys of the rows after the next {@link AHEAD} of the `left` rows from `rows` on. */
function touchAhead(rows: usize, left: u32, first: u32, heads: u32, size: u32, perKey: u32, stride: u32): void {
  if (left < 2 * AHEAD) return
  const key = first / perKey
  const keys: u32 = (first + heads - 1) / perKey + 1 - key
  touch(rows + <usize>AHEAD * stride * 4 + <usize>key * size * 4, 4, stride, size, AHEAD, keys, size)
}
