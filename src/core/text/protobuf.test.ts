import { expect, test } from 'vitest'
import { bytesField, message, messageField, textField, varintField } from './protobuf.ts'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

// The examples of the specification of Protocol Buffers, and a negative integer, which has ten bytes.
test('fields have the bytes of the specification', () => {
  expect(hex(message(varintField(1, 150)))).toBe('089601')
  expect(hex(message(textField(2, 'testing')))).toBe('120774657374696e67')
  expect(hex(message(messageField(3, varintField(1, 150))))).toBe('1a03089601')
  expect(hex(message(varintField(1, -2)))).toBe('08feffffffffffffffff01')
  expect(hex(message(varintField(16, 127), varintField(16, 128)))).toBe('80017f80018001')
})

test.each([0, 127, 128, 4092, 4093, 5000])('a message around %i bytes has them after its length', (count) => {
  const contents = new Uint8Array(count).fill(7)
  const inner = message(bytesField(1, contents))
  // The key and the length of `contents`, of one or two bytes, come first.
  expect(inner).toHaveLength(count + (count < 128 ? 2 : 3))
  expect(hex(inner)).toMatch(/^0a/)
  expect(hex(inner)).toMatch(new RegExp(`(07){${count}}$`))
  expect(message(messageField(5, bytesField(1, contents)))).toEqual(message(bytesField(5, inner)))
})
