import { expect, test } from 'vitest'
import { expectPlain } from './plain.ts'

const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)])
const itself: unknown[] = []
itself.push(itself)

test.each<[string, unknown, RegExp]>([
  ['a list with a field', { train: { freeze: Object.assign(['a'], { constructor: 5 }) } }, /: train\.freeze is a list/],
  [
    'an empty list with a field',
    { freeze: Object.assign([], { a: 1 }) },
    /: freeze is a list with a field "a" \(lists/,
  ],
  ['a field that hides', JSON.parse('{"model": {"__proto__": {"layers": 2}}}'), /unknown field model\.__proto__/],
  ['deep nesting', nested(33), /nested more than 32 deep/],
  ['a value in itself', itself, /contains itself/],
])('%s is refused', (_, value, message) => {
  expect(() => expectPlain(value, 'configuration')).toThrow(message)
})

test('lists, fields and text of any names are plain', () => {
  const value = { constructor: [1, [2, { toString: null }]], empty: [], nested: nested(30) }
  expect(expectPlain(value, 'configuration')).toBeUndefined()
})
