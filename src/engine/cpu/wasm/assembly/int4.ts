/**
 * Products of a row and a matrix of int4 in the layout of src/core/graph/quantized-layout.ts, and such a matrix as
 * floats. Rows are rounded as for int8 (`int8.ts`).
 */
import { Bfloat16, PACKED_STEP, packedPairs } from './bfloat16'

/** Bytes of the header before the numbers of a rounded row, and of the weights of a group. */
const HEADER: usize = 16
const WEIGHTS: usize = 256

/** Writes 8 times the sum of each group of 32 numbers of a rounded row, int32: what q + 8 adds to a product with q. */
export function int4Sums(x: usize, to: usize, groups: u32): void {
  const eights = i16x8.splat(8)
  x += HEADER
  for (; groups > 0; groups--) {
    let sum = i32x4.dot_i16x8_s(v128.load(x), eights)
    sum = i32x4.add(sum, i32x4.dot_i16x8_s(v128.load(x, 16), eights))
    sum = i32x4.add(sum, i32x4.dot_i16x8_s(v128.load(x, 32), eights))
    sum = i32x4.add(sum, i32x4.dot_i16x8_s(v128.load(x, 48), eights))
    const total =
      i32x4.extract_lane(sum, 0) + i32x4.extract_lane(sum, 1) + i32x4.extract_lane(sum, 2) + i32x4.extract_lane(sum, 3)
    store<i32>(to, total)
    x += 64
    to += 4
  }
}

/**
 * out = x·w for `blocks` blocks of 16 columns of w, each of `groups` groups of 32 rows, x from `roundRow`, and `sums`
 * from {@link int4Sums}.
 */
export function int4Times(x: usize, sums: usize, w: usize, out: usize, blocks: u32, groups: u32): void {
  const scale = v128.load32_splat(x)
  const mask = i16x8.splat(15)
  x += HEADER
  for (; blocks > 0; blocks--) {
    let sumA = f32x4.splat(0)
    let sumB = f32x4.splat(0)
    let sumC = f32x4.splat(0)
    let sumD = f32x4.splat(0)
    let from = x
    let less = sums
    for (let group = groups; group > 0; group--) {
      let a = i32x4.splat(0)
      let b = i32x4.splat(0)
      let c = i32x4.splat(0)
      let d = i32x4.splat(0)
      for (let pairs: u32 = 16; pairs > 0; pairs -= 2) {
        const first = v128.load32_splat(from)
        const q = v128.load(w)
        a = i32x4.add(a, i32x4.dot_i16x8_s(first, v128.and(q, mask)))
        b = i32x4.add(b, i32x4.dot_i16x8_s(first, v128.and(i16x8.shr_u(q, 4), mask)))
        c = i32x4.add(c, i32x4.dot_i16x8_s(first, v128.and(i16x8.shr_u(q, 8), mask)))
        d = i32x4.add(d, i32x4.dot_i16x8_s(first, i16x8.shr_u(q, 12)))
        const second = v128.load32_splat(from, 4)
        const r = v128.load(w, 16)
        a = i32x4.add(a, i32x4.dot_i16x8_s(second, v128.and(r, mask)))
        b = i32x4.add(b, i32x4.dot_i16x8_s(second, v128.and(i16x8.shr_u(r, 4), mask)))
        c = i32x4.add(c, i32x4.dot_i16x8_s(second, v128.and(i16x8.shr_u(r, 8), mask)))
        d = i32x4.add(d, i32x4.dot_i16x8_s(second, i16x8.shr_u(r, 12)))
        from += 8
        w += 32
      }
      const eights = v128.load32_splat(less)
      less += 4
      sumA = f32x4.add(sumA, f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(a, eights)), Bfloat16.load4(w)))
      sumB = f32x4.add(sumB, f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(b, eights)), Bfloat16.load4(w + 8)))
      sumC = f32x4.add(sumC, f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(c, eights)), Bfloat16.load4(w + 16)))
      sumD = f32x4.add(sumD, f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(d, eights)), Bfloat16.load4(w + 24)))
      w += 32
    }
    v128.store(out, f32x4.mul(sumA, scale))
    v128.store(out, f32x4.mul(sumB, scale), 16)
    v128.store(out, f32x4.mul(sumC, scale), 32)
    v128.store(out, f32x4.mul(sumD, scale), 48)
    out += 64
  }
}

/** `int8Expand` for int4. */
export function int4Expand(w: usize, out: usize, inner: u32, columns: u32, stride: u32): void {
  const step: usize = <usize>stride * 4
  for (; inner > 0; w += 32) {
    const scales: usize = w + WEIGHTS
    for (let pairs: u32 = 16; pairs > 0 && inner > 0; pairs--, w += 16) {
      // The second row is written first, so that it may be the memory of the first one.
      const second = inner > 1 ? out + step : out
      if (columns >= 16) {
        const q = v128.load(w)
        for (let part: u32 = 0; part < 4; part++) {
          const four = i16x8.sub(v128.and(i16x8.shr_u(q, 4 * part), i16x8.splat(15)), i16x8.splat(8))
          const scale = Bfloat16.load4(scales + 8 * part)
          v128.store(second + 16 * part, f32x4.mul(f32x4.convert_i32x4_s(i32x4.shr_s(four, 16)), scale))
          const even = i32x4.shr_s(i32x4.shl(four, 16), 16)
          v128.store(out + 16 * part, f32x4.mul(f32x4.convert_i32x4_s(even), scale))
        }
      } else
        for (let column: u32 = 0; column < columns; column++) {
          if (inner > 1) store<f32>(second + column * 4, weightAt(w, scales, column, 1))
          store<f32>(out + column * 4, weightAt(w, scales, column, 0))
        }
      out += step * 2
      inner -= inner > 1 ? 2 : 1
    }
  }
}

/** `int8Pack` for int4. */
export function int4Pack(w: usize, out: usize, inner: u32): void {
  const eights = i16x8.splat(<i16>0x8888)
  for (let left = packedPairs(inner); left > 0; left -= 16, w += 32) {
    const a = Bfloat16.load4(w + WEIGHTS)
    const b = Bfloat16.load4(w + WEIGHTS + 8)
    const c = Bfloat16.load4(w + WEIGHTS + 16)
    const d = Bfloat16.load4(w + WEIGHTS + 24)
    for (let pairs: u32 = 16; pairs > 0; pairs--, w += 16, out += PACKED_STEP) {
      // q + 8 becomes q of two's complement, at the top of each lane of four columns in turn.
      const q = v128.xor(v128.load(w), eights)
      v128.store(out, Bfloat16.packPairs(i32x4.shl(q, 28), i32x4.shl(q, 12), a))
      v128.store(out, Bfloat16.packPairs(i32x4.shl(q, 24), i32x4.shl(q, 8), b), 16)
      v128.store(out, Bfloat16.packPairs(i32x4.shl(q, 20), i32x4.shl(q, 4), c), 32)
      v128.store(out, Bfloat16.packPairs(i32x4.shl(q, 16), q, d), 48)
    }
  }
}

/** The weight of a column in the first or the second row of the pair at `w`. */
function weightAt(w: usize, scales: usize, column: u32, row: u32): f32 {
  const four = <u32>load<u16>(w + ((column & 3) * 2 + row) * 2)
  const q = <i32>((four >> ((column >> 2) * 4)) & 15) - 8
  return Bfloat16.load(scales + column * 2) * <f32>q
}
