/**
 * Parses quantities such as `32 GiB` or `125 TFLOP/s` into numbers of base units. In the rest of the planner, the unit
 * is part of a number's name: bytes, seconds, flopsPerSecond, bytesPerSecond.
 */
import { z } from 'zod'

const decimal = { '': 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15 }
const binary = { Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40 }

const withPrefixes = (unit: string, prefixes: Readonly<Record<string, number>>, scale = 1): [string, number][] =>
  Object.entries(prefixes).map(([prefix, factor]) => [`${prefix}${unit}`, factor * scale])

/** Size of each unit in base units. */
const units = {
  bytes: Object.fromEntries(withPrefixes('B', { ...decimal, ...binary })),
  bytesPerSecond: Object.fromEntries([
    ...withPrefixes('B/s', { ...decimal, ...binary }),
    ...withPrefixes('b/s', decimal, 1 / 8),
    ...withPrefixes('bit/s', decimal, 1 / 8),
  ]),
  flopsPerSecond: Object.fromEntries([...withPrefixes('FLOP/s', decimal), ...withPrefixes('FLOPS', decimal)]),
  seconds: { s: 1, ms: 1e-3, us: 1e-6, µs: 1e-6, ns: 1e-9, min: 60, h: 3600 },
  watts: Object.fromEntries(withPrefixes('W', { '': 1, k: 1e3, M: 1e6 })),
} as const satisfies Record<string, Readonly<Record<string, number>>>

type Dimension = keyof typeof units

const examples: Readonly<Record<Dimension, string>> = {
  bytes: '32 GiB',
  bytesPerSecond: '900 GB/s',
  flopsPerSecond: '125 TFLOP/s',
  seconds: '5 us',
  watts: '700 W',
}

/** A schema for a number with a unit. The unit is required, since a bare 32 could mean bytes or gigabytes. */
function quantity(dimension: Dimension, allowZero: boolean) {
  return z.union([z.string(), z.number()]).transform((input, context) => {
    const scales: Readonly<Record<string, number>> = units[dimension]
    const [, number = '', unit = ''] = /^([-+.\d]+(?:e[-+]?\d+)?)\s*([a-zµ][\w/µ]*)?$/i.exec(String(input).trim()) ?? []
    const scale = scales[unit]
    const value = number === '' || scale === undefined ? Number.NaN : Number(number) * scale
    if (Number.isFinite(value) && (value > 0 || (allowZero && value === 0))) return value
    const range = allowZero ? 'zero or more' : 'more than zero'
    context.addIssue({
      code: 'custom',
      message: `expected ${range}, with a unit of ${Object.keys(scales).join(', ')}, such as "${examples[dimension]}"`,
    })
    return z.NEVER
  })
}

export const bytes = quantity('bytes', false)
export const bytesPerSecond = quantity('bytesPerSecond', false)
export const flopsPerSecond = quantity('flopsPerSecond', false)
export const watts = quantity('watts', false)
/** Times may be zero: a link without latency is a useful idealisation. */
export const seconds = quantity('seconds', true)
