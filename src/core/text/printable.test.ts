import fc from 'fast-check'
import { expect, test } from 'vitest'
import { printable } from './printable.ts'

test.each([
  ['plain text, ünï✓ 🐋\n\twith lines', 'plain text, ünï✓ 🐋\n\twith lines'],
  ['\x1b[1;31mred\x1b[0m', '\x1b[1;31mred\x1b[0m'],
  ['a\x1b[2Jb', 'a\\x1b[2Jb'],
  ['a\x1b]0;title\x07b', 'a\\x1b]0;title\\x07b'],
  ['one\rtwo\x7f\x9b1A', 'one\\x0dtwo\\x7f\\x9b1A'],
  // A terminal that obeys the control shows this name as atxt.exe.
  ['a\u202eexe.txt', 'a\\u202eexe.txt'],
  ['\u2066a\u2069\u200f\u061c', '\\u2066a\\u2069\\u200f\\u061c'],
])('%j is shown as %j', (text, shown) => {
  expect(printable(text)).toBe(shown)
})

test('nothing but line breaks, tabs and colours is left for the terminal to obey', () => {
  const unit = fc.oneof(
    fc.constantFrom('\x1b', '[', '1', ';', 'm', 'J', '\x9b', '\r', '\n', '\u202e', '\u2067'),
    fc.string({ maxLength: 2 }),
  )
  fc.assert(
    fc.property(fc.array(unit), (units) => {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: the pattern matches the codes of colours on purpose
      const rest = printable(units.join('')).replace(/\x1b\[[\d;]*m|[\n\t]/g, '')
      const isControl = (character: string) =>
        character < ' ' || (character >= '\x7f' && character <= '\x9f') || /\p{Bidi_Control}/u.test(character)
      expect([...rest].filter(isControl)).toEqual([])
    }),
  )
})
