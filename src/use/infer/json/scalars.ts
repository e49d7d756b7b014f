/** The grammars of JSON's strings, numbers and constants. */
import { END, type GrammarNode, literal, node, nodesOf, oneMore, sequence, spaced } from './nodes.ts'

const hex = '30-39,61-66,41-46'
/** `\u` with the first digit of a surrogate, which is `d`. */
const surrogate = ['5c', '75', '64,44']

/**
 * A character of a string: UTF-8 as in RFC 3629, section 4, without the characters that JSON escapes, and the escapes of
 * RFC 8259, section 7. Surrogates are escaped in pairs only: half of a pair is no character.
 */
const character: GrammarNode = node(() => ({ also: characters }))
const characters = [
  ['20-21,23-5b,5d-7f'],
  ['c2-df', '80-bf'],
  ['e0', 'a0-bf', '80-bf'],
  ['e1-ec,ee-ef', '80-bf', '80-bf'],
  ['ed', '80-9f', '80-bf'],
  ['f0', '90-bf', '80-bf', '80-bf'],
  ['f1-f3', '80-bf', '80-bf', '80-bf'],
  ['f4', '80-8f', '80-bf', '80-bf'],
  ['5c', '22,5c,2f,62,66,6e,72,74'],
  ['5c', '75', '30-39,61-63,65-66,41-43,45-46', hex, hex, hex],
  [...surrogate, '30-37', hex, hex],
  [...surrogate, '38-39,61-62,41-42', hex, hex, ...surrogate, '63-66,43-46', hex, hex],
].map((classes) => sequence(classes, END))

/** A string of `min` to `max` characters. */
export function string(min: number, max: number): GrammarNode {
  const make = nodesOf()
  const at = (count: number): GrammarNode =>
    make(count, () => ({
      ...(count >= min && { bytes: [[0x22, 0x22, END]] }),
      ...(count < max && { call: { starts: [character], after: at(oneMore(count, min, max)) } }),
    }))
  return literal('"', at(0))
}

/**
 * A number without bounds: up to 21 digits, up to 23 after the point, and an exponent of up to two digits. Numbers of
 * JavaScript from 1e-99 to 1e99 are written so, and no number is larger than a float64 can be.
 */
export function anyNumber(): GrammarNode {
  const make = nodesOf()
  const exponent = node(() => ({
    also: [sequence(['31-39'], END), sequence(['31-39', '30-39'], END), sequence(['30'], END)],
  }))
  const mark: GrammarNode = node(() => ({
    bytes: [0x65, 0x45].map((byte) => [
      byte,
      byte,
      node(() => ({
        bytes: [
          [0x2b, 0x2b, exponent],
          [0x2d, 0x2d, exponent],
        ],
        also: [exponent],
      })),
    ]),
    also: [END],
  }))
  const digits = (name: string, count: number, max: number, then: GrammarNode): GrammarNode =>
    make(`${name}${count}`, () => ({
      ...(count < max && { bytes: [[0x30, 0x39, digits(name, count + 1, max, then)]] }),
      ...(count > 0 && { also: [then] }),
    }))
  const fraction: GrammarNode = node(() => ({ bytes: [[0x2e, 0x2e, digits('fraction', 0, 23, mark)]], also: [mark] }))
  const whole: GrammarNode = node(() => ({
    bytes: [
      [0x30, 0x30, fraction],
      [0x31, 0x39, digits('whole', 1, 21, fraction)],
    ],
  }))
  return node(() => ({ bytes: [[0x2d, 0x2d, whole]], also: [whole] }))
}

/** A value of JSON, with its fields in their order. */
export function constant(value: unknown, then: GrammarNode = END): GrammarNode {
  if (typeof value !== 'object' || value === null) return literal(JSON.stringify(value), then)
  const [open, close] = Array.isArray(value) ? '[]' : '{}'
  const items: ((then: GrammarNode) => GrammarNode)[] = Array.isArray(value)
    ? value.map((item: unknown) => (next) => constant(item, next))
    : Object.entries(value).map(
        ([key, item]) =>
          (next) =>
            literal(JSON.stringify(key), spaced(':', constant(item, next))),
      )
  const last = literal(close as string, then)
  const rest = items.reduceRight((next, item, i) => item(i === items.length - 1 ? next : spaced(',', next)), last)
  return literal(open as string, rest)
}
