/**
 * AdamW (adamw.ts) with moments in bfloat16 or in 8 bits, which are rounded up or down at random, so that their
 * expectation is the unrounded value. Rounding to the nearest would never let v decay: with β₂ = 0.999 it changes by a
 * thousandth of itself, and neighbouring values of bfloat16 differ by at least 1/256.
 *
 * The codes of m and v of a number are side by side, m first. The random bits are a hash of a number's index and a
 * seed, so they do not depend on where a range is cut.
 *
 * In 8 bits, a code of exponent e and fraction f stands for unit · (2^e · (1 + f/8) − 1): steps are fine near zero, and
 * an eighth of the value further on. m has 4 bits of exponent and a sign, v has 5 bits of exponent. The unit is a share
 * of the *bound* of a block, which follows the recurrence of the moments with the block's largest gradient, and so is
 * never exceeded. v is not rounded to zero in a block that has gradients, because m / √v would be huge.
 *
 * Every four numbers are stored before the next are loaded: V8 computes values as late as it can, and would keep more
 * of them than there are registers.
 */

const BLOCK: u32 = 256
/** Bounds in units: codes 126 of m and 254 of v, less a thousandth, so that no value is rounded up beyond the codes. */
const M_LARGEST: f32 = 57287
const V_LARGEST: f32 = 3754426368
/** Bounds below this count as zero: their inverse, times the largest value, is not finite. */
const MIN_BOUND: f32 = 1e-28
const ONE: i32 = 0x3f800000

/**
 * AdamW with moments in bfloat16.
 * @param moments Pairs of codes, 4 bytes each. @param at Index of the first number, a multiple of 8.
 */
export function adamwBf16(
  p: usize,
  g: usize,
  moments: usize,
  count: u32,
  at: u32,
  seed: u32,
  first: f32,
  second: f32,
  beta1: f32,
  beta2: f32,
  size: f32,
  epsilon: f32,
  keep: f32,
): void {
  const first4 = f32x4.splat(first)
  const second4 = f32x4.splat(second)
  const beta14 = f32x4.splat(beta1)
  const beta24 = f32x4.splat(beta2)
  const size4 = f32x4.splat(size)
  const epsilon4 = f32x4.splat(epsilon)
  const keep4 = f32x4.splat(keep)
  let index = at
  let left = count
  for (; left >= 8; left -= 8) {
    const noise = Inlined.noise(index, seed)
    const swapped = Inlined.swapped(noise)
    Halves.step4(p, g, moments, noise, false, first4, second4, beta14, beta24, size4, epsilon4, keep4)
    Halves.step4(p + 16, g + 16, moments + 16, swapped, false, first4, second4, beta14, beta24, size4, epsilon4, keep4)
    index += 8
    p += 32
    g += 32
    moments += 32
  }
  for (let i: u32 = 0; i < left; i++) {
    const noise = Inlined.noiseOf(index, i, seed)
    Halves.step4(p, g, moments, noise, true, first4, second4, beta14, beta24, size4, epsilon4, keep4)
    p += 4
    g += 4
    moments += 4
  }
}

/**
 * AdamW with moments in 8 bits.
 * @param moments Pairs of codes, 2 bytes each. @param bounds Pairs of bounds of the blocks, float32.
 * @param at Index of the first number, where a block begins.
 */
export function adamwInt8(
  p: usize,
  g: usize,
  moments: usize,
  bounds: usize,
  count: u32,
  at: u32,
  seed: u32,
  first: f32,
  second: f32,
  beta1: f32,
  beta2: f32,
  size: f32,
  epsilon: f32,
  keep: f32,
): void {
  const first4 = f32x4.splat(first)
  const second4 = f32x4.splat(second)
  const size4 = f32x4.splat(size)
  const epsilon4 = f32x4.splat(epsilon)
  const keep4 = f32x4.splat(keep)
  let index = at
  for (let rest = count; rest > 0; ) {
    const length: u32 = min(rest, BLOCK)
    const largest = largestOf(g, length)
    const oldM = load<f32>(bounds)
    const oldV = load<f32>(bounds, 4)
    const newM: f32 = oldM * beta1 + largest * first
    const newV: f32 = oldV * beta2 + largest * largest * second
    store<f32>(bounds, newM)
    store<f32>(bounds, newV, 4)
    const oldM4 = f32x4.splat((oldM / M_LARGEST) * beta1)
    const oldV4 = f32x4.splat((oldV / V_LARGEST) * beta2)
    const inverseM4 = f32x4.splat(newM >= MIN_BOUND ? M_LARGEST / newM : 0)
    const inverseV4 = f32x4.splat(newV >= MIN_BOUND ? V_LARGEST / newV : 0)
    let left = length
    for (; left >= 8; left -= 8) {
      const noise = Inlined.noise(index, seed)
      const swapped = Inlined.swapped(noise)
      Bytes.step4(
        p,
        g,
        moments,
        noise,
        false,
        oldM4,
        oldV4,
        inverseM4,
        inverseV4,
        first4,
        second4,
        size4,
        epsilon4,
        keep4,
      )
      Bytes.step4(
        p + 16,
        g + 16,
        moments + 8,
        swapped,
        false,
        oldM4,
        oldV4,
        inverseM4,
        inverseV4,
        first4,
        second4,
        size4,
        epsilon4,
        keep4,
      )
      index += 8
      p += 32
      g += 32
      moments += 16
    }
    for (let i: u32 = 0; i < left; i++) {
      const noise = Inlined.noiseOf(index, i, seed)
      Bytes.step4(
        p,
        g,
        moments,
        noise,
        true,
        oldM4,
        oldV4,
        inverseM4,
        inverseV4,
        first4,
        second4,
        size4,
        epsilon4,
        keep4,
      )
      p += 4
      g += 4
      moments += 2
    }
    bounds += 8
    rest -= length
  }
}

/** The largest magnitude of `count` floats. */
function largestOf(x: usize, count: u32): f32 {
  const magnitude = i32x4.splat(0x7fffffff)
  let a = f32x4.splat(0)
  let b = f32x4.splat(0)
  let left = count
  for (; left >= 8; left -= 8) {
    a = f32x4.pmax(a, v128.and(v128.load(x), magnitude))
    b = f32x4.pmax(b, v128.and(v128.load(x, 16), magnitude))
    x += 32
  }
  const both = f32x4.pmax(a, b)
  let largest = max(
    max(f32x4.extract_lane(both, 0), f32x4.extract_lane(both, 1)),
    max(f32x4.extract_lane(both, 2), f32x4.extract_lane(both, 3)),
  )
  for (; left > 0; left--) {
    largest = max(largest, abs(load<f32>(x)))
    x += 4
  }
  return largest
}

// biome-ignore lint/complexity/noStaticOnlyClass: as in adamw.ts
class Inlined {
  /**
   * 32 random bits for each lane, for eight numbers from `index` on. The m and v of a number take the halves of a lane;
   * the m and v of the number four further on take the same halves the other way around. The bits are a hash of one
   * multiplication and two shifts of a Weyl sequence, as in SplitMix (Steele et al. 2014).
   */
  @inline
  static noise(index: u32, seed: u32): v128 {
    const start = i32x4.splat((index >> 3) * (4 * 0x9e3779b1) + seed)
    const weyl = i32x4.add(start, i32x4(0, 0x9e3779b1, 0x3c6ef362, 0xdaa66d13))
    const mixed = i32x4.mul(v128.xor(weyl, i32x4.shr_u(weyl, 16)), i32x4.splat(0x21f0aaad))
    return v128.xor(mixed, i32x4.shr_u(mixed, 15))
  }

  /** The noise with the halves of its lanes swapped. */
  @inline
  static swapped(noise: v128): v128 {
    return v128.or(i32x4.shl(noise, 16), i32x4.shr_u(noise, 16))
  }

  /** The random bits of number `i` of eight, in the first lane. */
  static noiseOf(index: u32, i: u32, seed: u32): v128 {
    const noise = Inlined.noise(index, seed + (i & 3) * 0x9e3779b1)
    return i < 4 ? noise : Inlined.swapped(noise)
  }

  /** Loads four floats, or a single one. */
  @inline
  static floats(from: usize, single: bool): v128 {
    return single ? v128.load32_zero(from) : v128.load(from)
  }

  /** Updates four parameters, or a single one. */
  @inline
  static move(p: usize, single: bool, m: v128, v: v128, size: v128, epsilon: v128, keep: v128): void {
    const root = f32x4.add(f32x4.sqrt(v), epsilon)
    const step = f32x4.mul(f32x4.div(m, root), size)
    const result = f32x4.sub(f32x4.mul(Inlined.floats(p, single), keep), step)
    if (single) store<f32>(p, f32x4.extract_lane(result, 0))
    else v128.store(p, result)
  }
}

// biome-ignore lint/complexity/noStaticOnlyClass: as in adamw.ts
class Halves {
  @inline
  static step4(
    p: usize,
    g: usize,
    moments: usize,
    noise: v128,
    single: bool,
    first: v128,
    second: v128,
    beta1: v128,
    beta2: v128,
    size: v128,
    epsilon: v128,
    keep: v128,
  ): void {
    const gradient = Inlined.floats(g, single)
    const codes = Inlined.floats(moments, single)
    const upper = i32x4.splat(0xffff0000)
    const m = f32x4.add(f32x4.mul(i32x4.shl(codes, 16), beta1), f32x4.mul(gradient, first))
    const v = f32x4.add(f32x4.mul(v128.and(codes, upper), beta2), f32x4.mul(f32x4.mul(gradient, gradient), second))
    const upM = i32x4.add(m, v128.andnot(noise, upper))
    const upV = i32x4.add(v, i32x4.shr_u(noise, 16))
    const result = v128.or(i32x4.shr_u(upM, 16), v128.and(upV, upper))
    if (single) store<i32>(moments, i32x4.extract_lane(result, 0))
    else v128.store(moments, result)
    Inlined.move(p, single, m, v, size, epsilon, keep)
  }
}

// biome-ignore lint/complexity/noStaticOnlyClass: as in adamw.ts
class Bytes {
  /** @param oldM, oldV Units of the old codes, times β₁ or β₂. @param inverseM, inverseV Inverses of the new units. */
  @inline
  static step4(
    p: usize,
    g: usize,
    moments: usize,
    noise: v128,
    single: bool,
    oldM: v128,
    oldV: v128,
    inverseM: v128,
    inverseV: v128,
    first: v128,
    second: v128,
    size: v128,
    epsilon: v128,
    keep: v128,
  ): void {
    const gradient = Inlined.floats(g, single)
    const codes = single ? i32x4.splat(load<i16>(moments)) : i32x4.extend_low_i16x8_s(v128.load64_zero(moments))
    const sign = v128.and(codes, i32x4.splat(0x80000000))
    const valueM = v128.or(Bytes.decode(i32x4.shl(v128.and(codes, i32x4.splat(0x7f00)), 12)), sign)
    const valueV = Bytes.decode(i32x4.shl(v128.and(codes, i32x4.splat(0xff)), 20))
    const m = f32x4.add(f32x4.mul(valueM, oldM), f32x4.mul(gradient, first))
    const v = f32x4.add(f32x4.mul(valueV, oldV), f32x4.mul(f32x4.mul(gradient, gradient), second))
    const one = f32x4.splat(1)
    const scaledM = f32x4.add(f32x4.mul(v128.and(m, i32x4.splat(0x7fffffff)), inverseM), one)
    // v gets code 1 at least, so that it is not rounded to zero.
    const scaledV = f32x4.pmax(f32x4.add(f32x4.mul(v, inverseV), one), f32x4.splat(1.125))
    const upM = i32x4.shr_u(i32x4.add(scaledM, v128.and(noise, i32x4.splat(0xfffff))), 20)
    const upV = i32x4.shr_u(i32x4.add(scaledV, i32x4.shr_u(noise, 12)), 20)
    const signV = i32x4.add(upV, v128.and(i32x4.shr_s(m, 16), i32x4.splat(0xffff8000)))
    const result = i32x4.sub(i32x4.add(signV, i32x4.shl(upM, 8)), i32x4.splat((ONE >> 20) * 0x101))
    if (single) store<u16>(moments, i32x4.extract_lane(result, 0))
    else v128.store64_lane(moments, i16x8.narrow_i32x4_s(result, result), 0)
    Inlined.move(p, single, m, v, size, epsilon, keep)
  }

  /**
   * The value of a code, in units.
   * @param code The code, shifted so that its fraction is in the upper bits of a float's mantissa and its exponent in
   * the float's exponent.
   */
  @inline
  static decode(code: v128): v128 {
    return f32x4.sub(i32x4.add(code, i32x4.splat(ONE)), f32x4.splat(1))
  }
}
