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
}
