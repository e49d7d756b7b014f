/** Products of a row and a matrix of int8 in the layout of src/core/graph/quantized-layout.ts, and such a matrix as floats. */
import { Bfloat16, PACKED_STEP, packedPairs } from './bfloat16'

/** Bytes of the header before the numbers of a rounded row. It has the scale of the row, a float. */
const HEADER: usize = 16

/**
 * Rounds x [count] to int16: x ≈ scale·q with scale = max |x| / 32,767. Writes the scale to `to`, the numbers after
 * {@link HEADER} bytes, and zeros up to `padded` numbers, a multiple of 8.
 */
export function roundRow(x: usize, to: usize, count: u32, padded: u32): void {
  let largest = f32x4.splat(0)
  let at = x
  const end: usize = x + <usize>count * 4
  for (; at + 16 <= end; at += 16) largest = f32x4.max(largest, f32x4.abs(v128.load(at)))
  for (; at < end; at += 4) largest = f32x4.max(largest, f32x4.abs(v128.load32_splat(at)))
  const most: f32 = max(
    max(f32x4.extract_lane(largest, 0), f32x4.extract_lane(largest, 1)),
    max(f32x4.extract_lane(largest, 2), f32x4.extract_lane(largest, 3)),
  )
  const inverse = f32x4.splat(most > 0 ? <f32>32767 / most : 0)
  store<f32>(to, most / 32767)
  to += HEADER
  const last: usize = to + <usize>padded * 2
  for (at = x; at + 16 <= end; at += 16) {
    const rounded = roundFour(v128.load(at), inverse)
    v128.store64_lane(to, rounded, 0)
    to += 8
  }
  for (; at < end; at += 4) {
    v128.store16_lane(to, roundFour(v128.load32_splat(at), inverse), 0)
    to += 2
  }
  memory.fill(to, 0, last - to)
}

/** Rounds four floats to int16, which are in both halves of the result. */
function roundFour(x: v128, inverse: v128): v128 {
  const rounded = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(x, inverse)))
  return i16x8.narrow_i32x4_s(rounded, rounded)
}

/**
 * out = x·w for `blocks` blocks of 16 columns of w, each of `groups` groups of 64 rows, and x from {@link roundRow}.
 */
export function int8Times(x: usize, w: usize, out: usize, blocks: u32, groups: u32): void {
  const scale = v128.load32_splat(x)
  x += HEADER
  for (; blocks > 0; blocks--) {
    let sumA = f32x4.splat(0)
    let sumB = f32x4.splat(0)
    let sumC = f32x4.splat(0)
    let sumD = f32x4.splat(0)
    let from = x
    for (let group = groups; group > 0; group--) {
      let a = i32x4.splat(0)
      let b = i32x4.splat(0)
      let c = i32x4.splat(0)
      let d = i32x4.splat(0)
      for (let pairs: u32 = 32; pairs > 0; pairs -= 2) {
        const first = v128.load32_splat(from)
        a = i32x4.add(a, i32x4.dot_i16x8_s(first, v128.load_ext<i8>(w)))
        b = i32x4.add(b, i32x4.dot_i16x8_s(first, v128.load_ext<i8>(w, 8)))
        c = i32x4.add(c, i32x4.dot_i16x8_s(first, v128.load_ext<i8>(w, 16)))
        d = i32x4.add(d, i32x4.dot_i16x8_s(first, v128.load_ext<i8>(w, 24)))
        const second = v128.load32_splat(from, 4)
        a = i32x4.add(a, i32x4.dot_i16x8_s(second, v128.load_ext<i8>(w, 32)))
        b = i32x4.add(b, i32x4.dot_i16x8_s(second, v128.load_ext<i8>(w, 40)))
        c = i32x4.add(c, i32x4.dot_i16x8_s(second, v128.load_ext<i8>(w, 48)))
        d = i32x4.add(d, i32x4.dot_i16x8_s(second, v128.load_ext<i8>(w, 56)))
        from += 8
        w += 64
      }
      sumA = f32x4.add(sumA, f32x4.mul(f32x4.convert_i32x4_s(a), Bfloat16.load4(w)))
      sumB = f32x4.add(sumB, f32x4.mul(f32x4.convert_i32x4_s(b), Bfloat16.load4(w + 8)))
      sumC = f32x4.add(sumC, f32x4.mul(f32x4.convert_i32x4_s(c), Bfloat16.load4(w + 16)))
      sumD = f32x4.add(sumD, f32x4.mul(f32x4.convert_i32x4_s(d), Bfloat16.load4(w + 24)))
      w += 32
    }
    v128.store(out, f32x4.mul(sumA, scale))
    v128.store(out, f32x4.mul(sumB, scale), 16)
    v128.store(out, f32x4.mul(sumC, scale), 32)
    v128.store(out, f32x4.mul(sumD, scale), 48)
    out += 64
  }
}

/**
 * Writes a block of columns of w as floats: `inner` rows of `columns` numbers, at most 16, each row `stride` floats
 * after the one before.
 */
export function int8Expand(w: usize, out: usize, inner: u32, columns: u32, stride: u32): void {
  const step: usize = <usize>stride * 4
  for (; inner > 0; w += 32) {
    const scales: usize = w + 1024
    for (let pairs: u32 = 32; pairs > 0 && inner > 0; pairs--, w += 32) {
      if (columns >= 16) expandPair(w, scales, out, inner > 1 ? out + step : out)
      else
        for (let column: u32 = 0; column < columns; column++) {
          const scale = Bfloat16.load(scales + column * 2)
          const to: usize = out + column * 4
          store<f32>(to, scale * <f32>load<i8>(w + column * 2))
          if (inner > 1) store<f32>(to + step, scale * <f32>load<i8>(w + column * 2, 1))
        }
      out += step * 2
      inner -= inner > 1 ? 2 : 1
    }
  }
}

/** Two rows of 16 columns. The second row is written first, so that it may be the memory of the first one. */
function expandPair(w: usize, scales: usize, first: usize, second: usize): void {
  for (let half: usize = 0; half < 2; half++, w += 16, scales += 16, first += 32, second += 32) {
    const both = v128.load(w)
    const low = i16x8.shr_s(i16x8.shl(both, 8), 8)
    const high = i16x8.shr_s(both, 8)
    const left = Bfloat16.load4(scales)
    const right = Bfloat16.load4(scales + 8)
    v128.store(second, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(high)), left))
    v128.store(second, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(high)), right), 16)
    v128.store(first, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(low)), left))
    v128.store(first, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(low)), right), 16)
  }
}

/**
 * Writes a block of 16 columns of w as bfloat16, to 16 columns of a stripe of a packed matrix (`productOfPacked` in
 * src/engine/cpu/primitives/primitives.ts) with `inner` rows, and zeros to the rows of padding.
 */
export function int8Pack(w: usize, out: usize, inner: u32): void {
  for (let left = packedPairs(inner); left > 0; w += 1056) {
    const pairs = min<u32>(left, 32)
    const scales: usize = w + 1024
    packHalf(w, scales, out, pairs)
    packHalf(w + 16, scales + 16, out + 32, pairs)
    out += PACKED_STEP * <usize>pairs
    left -= pairs
  }
}

/** Writes 8 columns of pairs of rows of a group. */
function packHalf(w: usize, scales: usize, out: usize, pairs: u32): void {
  const all = v128.load(scales)
  const zero = i16x8.splat(0)
  // The scale of each column twice, as floats, since both rows of a pair follow each other.
  const a = v128.shuffle<u16>(zero, all, 0, 8, 0, 8, 0, 9, 0, 9)
  const b = v128.shuffle<u16>(zero, all, 0, 10, 0, 10, 0, 11, 0, 11)
  const c = v128.shuffle<u16>(zero, all, 0, 12, 0, 12, 0, 13, 0, 13)
  const d = v128.shuffle<u16>(zero, all, 0, 14, 0, 14, 0, 15, 0, 15)
  for (; pairs > 0; pairs--, w += 32, out += PACKED_STEP) {
    const low = v128.load_ext<i8>(w)
    const high = v128.load_ext<i8>(w, 8)
    const first = f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(low)), a)
    const second = f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(low)), b)
    v128.store(out, Bfloat16.pack8(first, second))
    const third = f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(high)), c)
    const fourth = f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(high)), d)
    v128.store(out, Bfloat16.pack8(third, fourth), 16)
  }
}
