/**
 * The grammar of a number between bounds, digit by digit: a digit may come if some number within the bounds begins so.
 *
 * A text has a limited number of digits and no exponent, so it is a whole number N over a power of ten, and everything is
 * computed exactly. Reading a text as float64 keeps the order of numbers, and numbers of at most 15 digits remain
 * different; so a text that is within the bounds, which are float64 themselves, is within them when it has been read.
 */
import { type Arcs, END, type GrammarNode, nodesOf } from './nodes.ts'

export interface Bound {
  readonly value: number
  readonly isExclusive: boolean
}

export interface Decimals {
  /** Lower bounds and upper bounds, all of which hold. */
  readonly low: readonly Bound[]
  readonly high: readonly Bound[]
  /** Maximum number of digits. */
  readonly digits: number
  /** Whether a point and more digits may come. */
  readonly hasFraction: boolean
}

/** A number of which some digits are written. */
interface Prefix {
  readonly isNegative: boolean
  /** The digits as a whole number. */
  readonly value: bigint
  readonly digits: number
  /** Number of digits after the point; -1: there is no point yet. */
  readonly fraction: number
}

/** Returns the start of the grammar, or null if there is no such number. */
export function decimal(range: Decimals): GrammarNode | null {
  const make = nodesOf()
  const signed = (isNegative: boolean): Arcs =>
    continued({ isNegative, value: 0n, digits: 0, fraction: -1 }, ({ digits }) => digits > 0)
  const continued = (prefix: Prefix, mayEnd: (prefix: Prefix) => boolean): Arcs => {
    const { value, digits, fraction } = prefix
    const isZero = value === 0n && digits === 1 && fraction < 0
    const next =
      isZero || digits === range.digits
        ? []
        : [...'0123456789'].map((digit) => ({
            ...prefix,
            value: value * 10n + BigInt(digit),
            digits: digits + 1,
            fraction: fraction < 0 ? -1 : fraction + 1,
          }))
    const after = (byte: number, prefix: Prefix): [number, number, GrammarNode][] =>
      isReachable(prefix, range) ? [[byte, byte, at(prefix)]] : []
    return {
      bytes: [
        ...next.flatMap((prefix, digit) => after(0x30 + digit, prefix)),
        ...(range.hasFraction && digits > 0 && fraction < 0 ? after(0x2e, { ...prefix, fraction: 0 }) : []),
      ],
      ...(mayEnd(prefix) && isWithin(prefix, range) && { also: [END] }),
    }
  }
  const at = (prefix: Prefix): GrammarNode =>
    make(`${prefix.isNegative ? '-' : ''}${prefix.value}/${prefix.fraction}`, () =>
      continued(prefix, ({ fraction }) => fraction !== 0),
    )
  const [positive, negative] = [signed(false), signed(true)]
  const bytes = [...(positive.bytes ?? [])]
  if (negative.bytes?.length) bytes.push([0x2d, 0x2d, make('-', () => negative)])
  return bytes.length > 0 ? make('', () => ({ bytes })) : null
}

/** Whether the digits so far are a number within the bounds. */
function isWithin({ isNegative, value, fraction }: Prefix, range: Decimals): boolean {
  const { least, most } = magnitudes(range, isNegative, Math.max(0, fraction))
  return least <= value && value <= most
}

/** Whether a number within the bounds begins with these digits. */
function isReachable({ isNegative, value, digits, fraction }: Prefix, range: Decimals): boolean {
  const left = range.digits - digits
  if (fraction === 0 && left === 0) return false
  // Digits that come before the point; all of the rest come after it, where zeros change nothing.
  const most = fraction >= 0 || value === 0n ? 0 : left
  for (let before = 0; before <= most; before++) {
    const after = range.hasFraction ? left - before : 0
    const more = 10n ** BigInt(before + after)
    const span = magnitudes(range, isNegative, Math.max(0, fraction) + after)
    if (span.least <= (value + 1n) * more - 1n && value * more <= span.most) return true
  }
  return false
}

/** Bounds of N = |number| · 10^scale. */
function magnitudes({ low, high, digits }: Decimals, isNegative: boolean, scale: number) {
  const limit = 10n ** BigInt(digits)
  // The least N is the ceiling of a bound, or above it; the largest one is mirrored.
  const least = low.map(({ value, isExclusive }) => above(value, isExclusive, scale))
  const most = high.map(({ value, isExclusive }) => -above(-value, isExclusive, scale))
  const lowest = [-limit, ...least].sort(ascending).at(-1) as bigint
  const highest = [limit, ...most].sort(ascending)[0] as bigint
  // Zero has no sign.
  return isNegative
    ? { least: highest < -1n ? -highest : 1n, most: -lowest }
    : { least: lowest > 0n ? lowest : 0n, most: highest }
}

const ascending = (a: bigint, b: bigint): number => (a < b ? -1 : 1)

/** The least whole number N with N / 10^scale ≥ value, or > value. */
function above(value: number, isExclusive: boolean, scale: number): bigint {
  const [, sign, whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(value)) ?? []
  const digits = BigInt(`${sign}${whole}${fraction}`)
  const shift = scale - fraction.length + Number(exponent)
  if (shift >= 0) return digits * 10n ** BigInt(shift) + (isExclusive ? 1n : 0n)
  const unit = 10n ** BigInt(-shift)
  // Division of BigInt rounds towards zero.
  const floor = digits / unit - (digits % unit < 0n ? 1n : 0n)
  return isExclusive || digits % unit !== 0n ? floor + 1n : floor
}
