/** Numbers of bfloat16, the upper half of a float. */

// biome-ignore lint/complexity/noStaticOnlyClass: as in adamw.ts
export class Bfloat16 {
  /** Loads four numbers as floats. */
  @inline
  static load4(at: usize): v128 {
    return i32x4.shl(v128.load_ext<u16>(at), 16)
  }

  /** Loads a number as a float. */
  @inline
  static load(at: usize): f32 {
    return reinterpret<f32>((<u32>load<u16>(at)) << 16)
  }

  /**
   * Rounds each of eight floats to the nearest number, halves away from zero. Packing rounds products of a weight and its
   * scale, whose halves are rare, so that the usual rule, ties to even, would cost more than it gives.
   */
  @inline
  static pack8(left: v128, right: v128): v128 {
    const half = i32x4.splat(0x8000)
    return v128.shuffle<u16>(i32x4.add(left, half), i32x4.add(right, half), 1, 3, 5, 7, 9, 11, 13, 15)
  }

  /** Rounds scale·q of two rows of four columns as {@link pack8}: pairs of rows. q is in the topmost 4 bits of each lane. */
  @inline
  static packPairs(first: v128, second: v128, scales: v128): v128 {
    const half = i32x4.splat(0x8000)
    const x = i32x4.add(f32x4.mul(f32x4.convert_i32x4_s(i32x4.shr_s(first, 28)), scales), half)
    const y = i32x4.add(f32x4.mul(f32x4.convert_i32x4_s(i32x4.shr_s(second, 28)), scales), half)
    return v128.or(i32x4.shr_u(x, 16), v128.and(y, i32x4.splat(<i32>0xffff0000)))
  }
}

/** Bytes from a pair of rows to the next one in a stripe of a packed matrix (`STRIPE` in src/engine/cpu/primitives/primitives.ts). */
export const PACKED_STEP: usize = 256

/** Pairs of rows of a packed matrix with `inner` rows. */
export function packedPairs(inner: u32): u32 {
  return ((inner + 31) >> 5) << 4
}
