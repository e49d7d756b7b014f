/**
 * Writes messages of Protocol Buffers (https://protobuf.dev/programming-guides/encoding). A message is the
 * concatenation of its fields, and a field begins with its number and the type of its value. Fields are lists of pieces.
 * A short message becomes one piece. The pieces of a long one are joined once, at the end, so that large contents are
 * not copied for every message around them.
 */

/** The bytes of a field, or of several fields, in pieces. */
export type Field = readonly Uint8Array[]

const VARINT = 0
const DOUBLE = 1
const BYTES = 2
const FLOAT = 5

/** Number of bytes up to which a message becomes one piece. */
const SHORT = 4096

/** The bytes of a message. */
export const message = (...fields: readonly Field[]): Uint8Array => joined(fields.flat())

function joined(pieces: Field): Uint8Array {
  const bytes = new Uint8Array(lengthOf(pieces))
  let at = 0
  for (const piece of pieces) {
    // Most pieces have one byte, for which `set` takes longer.
    if (piece.length === 1) bytes[at] = piece[0] as number
    else bytes.set(piece, at)
    at += piece.length
  }
  return bytes
}

/** An integer of at most 64 bits, or an enum; a negative one is written as its two's complement. */
export const varintField = (field: number, value: number): Field => [key(field, VARINT), varint(value)]

export const bytesField = (field: number, value: Uint8Array): Field => [key(field, BYTES), varint(value.length), value]

const encoder = new TextEncoder()

export const textField = (field: number, text: string): Field => bytesField(field, encoder.encode(text))

/** A field with a message. */
export function messageField(field: number, ...fields: readonly Field[]): Field {
  const pieces = fields.flat()
  const length = lengthOf(pieces)
  return [key(field, BYTES), varint(length), ...(length <= SHORT ? [joined(pieces)] : pieces)]
}

export function doubleField(field: number, value: number): Field {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setFloat64(0, value, true)
  return [key(field, DOUBLE), bytes]
}

export function floatField(field: number, value: number): Field {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setFloat32(0, value, true)
  return [key(field, FLOAT), bytes]
}

function lengthOf(pieces: Field): number {
  let total = 0
  for (const { length } of pieces) total += length
  return total
}

const key = (field: number, type: number): Uint8Array => varint(field * 8 + type)

/** The integers of one byte, which most fields begin with: a model has many thousand fields. */
const short: readonly Uint8Array[] = Array.from({ length: 128 }, (_, value) => Uint8Array.of(value))

function varint(value: number): Uint8Array {
  const known = short[value]
  if (known) return known
  const bytes: number[] = []
  if (value < 0) {
    let rest = BigInt.asUintN(64, BigInt(value))
    for (; rest >= 128n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128)
    return Uint8Array.from([...bytes, Number(rest)])
  }
  let rest = value
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  return Uint8Array.from([...bytes, rest])
}
