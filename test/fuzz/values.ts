/** Nonsensical values for fields, options and files. */
import fc from 'fast-check'

const numbers = [0, -1, 1, 2, 3, 1.5, 1e-9, 1e9, 2 ** 31, 2 ** 32, 2 ** 53, 1e308, -1e308]
const texts = ['', ' ', 'a', '5abc', '0x50', '1e3', ' 5 ', 'NaN', 'Infinity', '-', '--', '__proto__', 'constructor']
const long = 'a'.repeat(5000)
const odd = ['\u0000', '\ud800', '\u202e', '😀'.repeat(50), 'é\r\n', '*', '[', '{', '"', '$(x)', '%s', '../..', long]

/** A text as a person would not write it. */
export const anyText: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(...texts, ...odd, ...numbers.map(String)),
  fc.string({ maxLength: 20 }),
)

/** A value of JSON. */
export const anyJson: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(null, true, false, [], {}, [[]], [null], { a: {} }, ...numbers),
  anyText,
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom<unknown>(nested(100), Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`key${i}`, i]))),
)

function nested(depth: number): unknown {
  let value: unknown = 1
  for (let i = 0; i < depth; i++) value = i % 2 === 0 ? [value] : { a: value }
  return value
}

export type Path = readonly string[]

/** Paths of all values in a value of JSON, except the whole. */
function pathsIn(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, below]) => [[...path, key], ...pathsIn(below, [...path, key])])
}

/** A copy with another value at a path. */
function withValue(value: unknown, [key, ...rest]: Path, replacement: unknown): unknown {
  if (key === undefined) return replacement
  const copy: unknown = Array.isArray(value) ? [...value] : { ...(value as object) }
  const below = rest.length === 0 ? replacement : withValue((value as Record<string, unknown>)[key], rest, replacement)
  Object.defineProperty(copy, key, { value: below, enumerable: true, configurable: true, writable: true })
  return copy
}

/** Copies of a value of JSON with one to three other values or fields in it. */
export function changed(value: unknown): fc.Arbitrary<unknown> {
  const names = fc.constantFrom('a', '__proto__', 'constructor', 'toString', '', long)
  const place = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...pathsIn(value)) },
    {
      weight: 1,
      arbitrary: fc.tuple(fc.constantFrom([], ...pathsIn(value)), names).map(([path, name]) => [...path, name]),
    },
  )
  return fc
    .array(fc.tuple(place, anyJson), { minLength: 1, maxLength: 3 })
    .map((changes) => changes.reduce((all, [path, other]) => tryWithValue(all, path, other), value))
}

/** Changes nothing if an earlier change has removed the place. */
function tryWithValue(value: unknown, path: Path, replacement: unknown): unknown {
  try {
    return withValue(value, path, replacement)
  } catch {
    return value
  }
}

/** Bytes as a crash, a bad disk or another program leaves them. */
export function damaged(bytes: Buffer): fc.Arbitrary<Buffer> {
  const at = fc.nat({ max: Math.max(0, bytes.length - 1) })
  return fc.oneof(
    fc.constant(Buffer.alloc(0)),
    at.map((end) => bytes.subarray(0, end)),
    fc.uint8Array({ maxLength: 300 }).map((random) => Buffer.from(random)),
    fc.tuple(at, fc.nat({ max: 7 })).map(([place, bit]) => {
      const copy = Buffer.from(bytes)
      if (copy.length > 0) copy[place] = (copy[place] ?? 0) ^ (1 << bit)
      return copy
    }),
    fc
      .tuple(at, fc.uint8Array({ maxLength: 40 }))
      .map(([place, more]) => Buffer.concat([bytes.subarray(0, place), more, bytes.subarray(place)])),
    anyJson.map((value) => Buffer.from(JSON.stringify(value) ?? '')),
    fc.constant(Buffer.concat([bytes, bytes])),
    fc.constant(Buffer.alloc(1 << 20)),
  )
}
