/**
 * Elementary functions. AssemblyScript's own functions have tables in a data segment, for which there is no room in the
 * memory of a program.
 */

// biome-ignore lint/complexity/noStaticOnlyClass: as in adamw.ts
export class Elementary {
  /**
   * eˣ to a relative error of 2e-7: 2ⁿ·eʳ with |r| ≤ ln 2 / 2, and the polynomial of Cephes' expf for eʳ. Below −87.3
   * the result is 1.2e-38 or less, above 88.3 it is 2.3e38.
   */
  @inline
  static exp4(x: v128): v128 {
    x = f32x4.min(f32x4.max(x, f32x4.splat(-87.3)), f32x4.splat(88.3))
    const n = f32x4.nearest(f32x4.mul(x, f32x4.splat(<f32>Math.LOG2E)))
    // ln 2 in two parts, of which n times the first is exact.
    let r = f32x4.sub(x, f32x4.mul(n, f32x4.splat(0.693359375)))
    r = f32x4.add(r, f32x4.mul(n, f32x4.splat(2.1219444e-4)))
    let y = f32x4.splat(1.98756915e-4)
    y = f32x4.add(f32x4.mul(y, r), f32x4.splat(1.3981999507e-3))
    y = f32x4.add(f32x4.mul(y, r), f32x4.splat(8.3334519073e-3))
    y = f32x4.add(f32x4.mul(y, r), f32x4.splat(4.1665795894e-2))
    y = f32x4.add(f32x4.mul(y, r), f32x4.splat(1.6666665459e-1))
    y = f32x4.add(f32x4.mul(y, r), f32x4.splat(5.0000001201e-1))
    y = f32x4.add(f32x4.add(f32x4.mul(y, f32x4.mul(r, r)), r), f32x4.splat(1))
    const power = i32x4.shl(i32x4.add(i32x4.trunc_sat_f32x4_s(n), i32x4.splat(127)), 23)
    return f32x4.mul(y, power)
  }

  /** eˣ of one number, as in `exp4`. */
  @inline
  static exp(x: f32): f32 {
    return f32x4.extract_lane(Elementary.exp4(f32x4.splat(x)), 0)
  }

  /**
   * log(x) of a normal positive number, within 1e-10. The logarithm of the mantissa m in [√½, √2) is the series of
   * 2·artanh((m − 1) / (m + 1)).
   */
  static log(x: f64): f64 {
    const bits = reinterpret<u64>(x)
    let exponent = <i32>(bits >> 52) - 1023
    let m = reinterpret<f64>((bits & 0xfffffffffffff) | 0x3ff0000000000000)
    if (m > Math.SQRT2) {
      m *= 0.5
      exponent++
    }
    const s = (m - 1) / (m + 1)
    const q = s * s
    const series = 1 + q * (1.0 / 3 + q * (1.0 / 5 + q * (1.0 / 7 + q * (1.0 / 9 + q * (1.0 / 11 + q * (1.0 / 13))))))
    return <f64>exponent * Math.LN2 + 2 * s * series
  }
}
