/**
 * Kernels of attention on rows of float32: moves of heads, masks, and statistics. A call processes a range of rows on
 * one thread.
 *
 * A call takes `heads` heads of each row, `apart` elements from one to the next, because a row that is read as a whole
 * comes from memory twice as fast as one head of each row. Strides are in elements, addresses in bytes; alignment is
 * not required. Elements whose bytes are given, 2 or 4, may be bfloat16: they are read as float32, and rounded as
 * oneDNN does (to nearest, ties to even). Heads of bfloat16 are moved to bfloat16 only.
 */
import { Elementary } from './elementary'
import { dot, largestOf, rotateRow, scaleRow, touch } from './row'

/** Number of rows that are fetched at once. */
const AHEAD: u32 = 8

/** Probability above which a float32 has all its digits. */
const MIN_PROBABILITY: f32 = 1e-30

/**
 * Rotates the pairs (a, b) = (from[r, h, i], from[r, h, half + i]) by angles of cos and sin [rows, half]:
 * to[r, h] = scale·(a·cos − b·s, b·cos + a·s) with s = sign·sin. `to` may be `from`, if both have one type.
 */
export function rotateHeads(
  from: usize,
  fromBytes: u32,
  fromStride: u32,
  fromApart: u32,
  to: usize,
  toBytes: u32,
  toStride: u32,
  toApart: u32,
  rows: u32,
  heads: u32,
  half: u32,
  cos: usize,
  sin: usize,
  scale: f32,
  sign: f32,
): void {
  for (; rows > 0; rows--) {
    if (rows % AHEAD === 0) touch(from, fromBytes, fromStride, fromApart, AHEAD, heads, half * 2)
    for (let h: u32 = 0; h < heads; h++) {
      const source = from + h * fromApart * fromBytes
      const target = to + h * toApart * toBytes
      if (fromBytes === 2) rotateRow<u16, u16>(source, target, half, cos, sin, scale, sign)
      else if (toBytes === 2) rotateRow<f32, u16>(source, target, half, cos, sin, scale, sign)
      else rotateRow<f32, f32>(source, target, half, cos, sin, scale, sign)
    }
    from += fromStride * fromBytes
    to += toStride * toBytes
    cos += half * 4
    sin += half * 4
  }
}

/**
 * Writes Σ a[r, h]·b[r, h] for each head to dots[h, r]. a and b have the same strides; dots has `apart` floats from one
 * head to the next.
 */
export function headDots(
  a: usize,
  aBytes: u32,
  b: usize,
  bBytes: u32,
  stride: u32,
  headStride: u32,
  rows: u32,
  heads: u32,
  width: u32,
  dots: usize,
  apart: u32,
): void {
  for (let r: u32 = 0; r < rows; r++) {
    if (r % AHEAD === 0 && rows - r >= AHEAD) {
      touch(a, aBytes, stride, headStride, AHEAD, heads, width)
      touch(b, bBytes, stride, headStride, AHEAD, heads, width)
    }
    for (let h: u32 = 0; h < heads; h++) {
      const left: usize = a + h * headStride * aBytes
      const right: usize = b + h * headStride * bBytes
      let sum: f64
      if (aBytes === 4) sum = bBytes === 4 ? dot<f32, f32>(left, right, width) : dot<f32, u16>(left, right, width)
      else sum = bBytes === 4 ? dot<u16, f32>(left, right, width) : dot<u16, u16>(left, right, width)
      store<f32>(dots + (h * apart + r) * 4, <f32>sum)
    }
    a += stride * aBytes
    b += stride * bBytes
  }
}

/**
 * log Σ exp(scores[r, c]) of the rows of a softmax from their probabilities: score − log(probability) of any column.
 * It uses column first + r (the query itself), or the most probable column if the query's probability nearly vanishes.
 */
export function logSums(scores: usize, probabilities: usize, rows: u32, columns: u32, first: u32, out: usize): void {
  for (let r: u32 = 0; r < rows; r++) {
    let column = first + r
    if (!(load<f32>(probabilities + column * 4) > MIN_PROBABILITY))
      for (let c: u32 = 0; c < columns; c++)
        if (load<f32>(probabilities + c * 4) > load<f32>(probabilities + column * 4)) column = c
    const p = load<f32>(probabilities + column * 4)
    const sum = <f32>(<f64>load<f32>(scores + column * 4) - Elementary.log(p))
    store<f32>(out + r * 4, F32.isNaN(p) ? p : sum)
    scores += columns * 4
    probabilities += columns * 4
  }
}

/**
 * Causal mask of transposed probabilities [keys, queries]: sets probabilities to 0 whose query comes before their key.
 * Query 0 is `ahead` positions after key 0. `bytes` of an element are 2 or 4.
 */
export function clearAfter(probabilities: usize, bytes: u32, keys: i32, queries: i32, ahead: i32): void {
  for (let key = max<i32>(0, ahead + 1); key < keys; key++)
    memory.fill(probabilities + key * queries * bytes, 0, min<i32>(key - ahead, queries) * bytes)
}

/**
 * Sets transposed probabilities [keys, queries] to 0 whose key, at position start + k, comes before the first position
 * that the query sees, int32 [queries].
 */
export function clearBefore(
  probabilities: usize,
  bytes: u32,
  keys: i32,
  queries: i32,
  firsts: usize,
  start: i32,
): void {
  let all = keys
  for (let q = 0; q < queries; q++) all = min<i32>(all, load<i32>(firsts + q * 4) - start)
  all = max<i32>(all, 0)
  memory.fill(probabilities, 0, all * queries * bytes)
  for (let q = 0; q < queries; q++) {
    const hidden = min<i32>(keys, load<i32>(firsts + q * 4) - start)
    let at = probabilities + (all * queries + q) * bytes
    for (let key = all; key < hidden; key++) {
      if (bytes === 4) store<f32>(at, 0)
      else store<u16>(at, 0)
      at += queries * bytes
    }
  }
}

/** to[r, h] = scale · from[r, h], each `width` wide. `to` may be `from`, if both have one type. */
export function scaleHeads(
  from: usize,
  fromBytes: u32,
  fromStride: u32,
  fromApart: u32,
  to: usize,
  toBytes: u32,
  toStride: u32,
  toApart: u32,
  rows: u32,
  heads: u32,
  width: u32,
  scale: f32,
): void {
  for (; rows > 0; rows--) {
    if (rows % AHEAD === 0) touch(from, fromBytes, fromStride, fromApart, AHEAD, heads, width)
    for (let h: u32 = 0; h < heads; h++) {
      const source = from + h * fromApart * fromBytes
      const target = to + h * toApart * toBytes
      if (fromBytes === 2) scaleRow<u16, u16>(source, target, width, scale)
      else if (toBytes === 2) scaleRow<f32, u16>(source, target, width, scale)
      else scaleRow<f32, f32>(source, target, width, scale)
    }
    from += fromStride * fromBytes
    to += toStride * toBytes
  }
}

/**
 * Masks the columns before the first position that a row sees: scores[r, c] = value for start + c < firsts[r]. firsts
 * are int32, at most start + the number of columns.
 */
export function maskBefore(scores: usize, stride: u32, rows: u32, firsts: usize, start: i32, value: f32): void {
  for (; rows > 0; rows--, firsts += 4) {
    fill(scores, max<i32>(0, load<i32>(firsts) - start), value)
    scores += stride * 4
  }
}

/** Causal mask: scores[r, c] = value for first + r < c < columns. */
export function maskAbove(scores: usize, stride: u32, rows: u32, columns: u32, first: u32, value: f32): void {
  for (let start = first + 1; rows > 0 && start < columns; start++, rows--) {
    fill(scores + start * 4, columns - start, value)
    scores += stride * 4
  }
}

/** Raises scores [rows, columns] that are more than `depth` below the largest of their row to that depth. */
export function raiseLow(scores: usize, rows: u32, columns: u32, depth: f32): void {
  for (; rows > 0; rows--, scores += columns * 4) {
    const least = largestOf(scores, columns) - depth
    const leasts = f32x4.splat(least)
    const end = scores + <usize>columns * 4
    let at = scores
    for (; at + 16 <= end; at += 16) v128.store(at, f32x4.max(v128.load(at), leasts))
    for (; at < end; at += 4) store<f32>(at, max<f32>(load<f32>(at), least))
  }
}

/** Sets `count` floats to `value`. */
function fill(to: usize, count: i32, value: f32): void {
  const masked = f32x4.splat(value)
  for (; count >= 4; count -= 4) {
    v128.store(to, masked)
    to += 16
  }
  for (; count > 0; count--) {
    store<f32>(to, value)
    to += 4
  }
}
