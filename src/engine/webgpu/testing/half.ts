/** Numbers as f16 and back, for tests. */

/**
 * The nearest f16 of a number, as a number; of two equally near f16, it is the even one. It is infinite from 65520 on.
 */
export function toHalf(value: number): number {
  const size = Math.abs(value)
  if (!(size < Infinity) || size === 0) return value
  // The distance of neighbours is 2⁻¹⁰ of the power of two below, and of 2⁻¹⁴ for the smallest numbers.
  const step = 2 ** (Math.max(Math.floor(Math.log2(size)), -14) - 10)
  const steps = size / step
  const whole = Math.floor(steps)
  const rest = steps - whole
  const rounded = step * (rest > 0.5 || (rest === 0.5 && whole % 2 === 1) ? whole + 1 : whole)
  return Math.sign(value) * (rounded > 65504 ? Infinity : rounded)
}

/** The bits of the nearest f16. */
export function halfBits(value: number): number {
  const half = toHalf(value)
  const sign = Object.is(Math.sign(half), -0) || half < 0 ? 0x8000 : 0
  const size = Math.abs(half)
  if (Number.isNaN(half)) return 0x7e00
  if (size === Infinity) return sign | 0x7c00
  const exponent = size === 0 ? -15 : Math.max(Math.floor(Math.log2(size)), -15)
  if (exponent < -14) return sign | (size / 2 ** -24)
  return sign | ((exponent + 15) << 10) | ((size / 2 ** exponent - 1) * 1024)
}

export function halfFromBits(bits: number): number {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023]
  if (exponent === 31) return fraction === 0 ? sign * Infinity : Number.NaN
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15))
}
