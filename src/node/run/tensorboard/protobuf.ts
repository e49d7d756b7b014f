/**
 * Fields of protobuf messages. A message is the concatenation of its fields; each begins with its number and the type of
 * its value (https://protobuf.dev/programming-guides/encoding). Field numbers are those of the .proto files of TensorFlow
 * and TensorBoard.
 */

const VARINT = 0
const DOUBLE = 1
const BYTES = 2
const FLOAT = 5

export const varintField = (field: number, value: number): Buffer => Buffer.concat([key(field, VARINT), varint(value)])

export const bytesField = (field: number, value: Uint8Array): Buffer =>
  Buffer.concat([key(field, BYTES), varint(value.length), value])

export const textField = (field: number, text: string): Buffer => bytesField(field, Buffer.from(text))

/** A field with a message. */
export const messageField = (field: number, ...fields: readonly Uint8Array[]): Buffer =>
  bytesField(field, Buffer.concat(fields))

export function doubleField(field: number, value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleLE(value)
  return Buffer.concat([key(field, DOUBLE), bytes])
}

export function floatField(field: number, value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeFloatLE(value)
  return Buffer.concat([key(field, FLOAT), bytes])
}

/** `repeated double`, packed. */
export function doublesField(field: number, values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(8 * values.length)
  for (const [i, value] of values.entries()) bytes.writeDoubleLE(value, 8 * i)
  return bytesField(field, bytes)
}

const key = (field: number, type: number): Buffer => varint(field * 8 + type)

function varint(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  return Buffer.from([...bytes, rest])
}
