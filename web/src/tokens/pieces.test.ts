import fc from 'fast-check'
import { expect, test } from 'vitest'
import { offsetsOf, piecesOf, tokensAt } from './pieces.ts'

const shown = (token: string) =>
  piecesOf(token)
    .map(({ text }) => text)
    .join('')

test('a newline is shown as a sign and still breaks the line', () => {
  expect(piecesOf('.\n')).toEqual([
    { text: '.', sign: false },
    { text: '⏎', sign: true },
    { text: '\n', sign: false },
  ])
  expect(shown('\r\n')).toBe('⏎\n')
  expect(shown('\n\n')).toBe('⏎\n⏎\n')
})

test('spaces that would be invisible are shown as signs, but not a single space before a word', () => {
  expect(shown(' the')).toBe(' the')
  expect(shown('a b')).toBe('a b')
  expect(shown(' ')).toBe('·')
  expect(shown('    x')).toBe('····x')
  expect(piecesOf('\t')).toEqual([{ text: '→\t', sign: true }])
})

test('no character of a token is lost', () => {
  const written = fc.string({ unit: fc.constantFrom(' ', '\n', '\r', '\t', 'a', '<', '&', 'é', '🦊') })
  fc.assert(
    fc.property(written, (token) => {
      const ends = token.replace(/\r\n?/g, '\n')
      if (token !== '') expect(shown(token).replaceAll('⏎', '').replaceAll('→', '').replaceAll('·', ' ')).toBe(ends)
    }),
  )
})

test('a token that ends within a character has a sign', () => {
  expect(piecesOf('')).toEqual([{ text: '◌', sign: true }])
})

test('a range of characters maps to tokens of another run', () => {
  const offsets = offsetsOf(['The', ' wha', 'le', '', ' sank'])
  expect([...offsets]).toEqual([0, 3, 7, 9, 9.5, 14])
  // The range of ' whale', which is one token in the other run.
  expect(tokensAt(offsets, 3, 9)).toEqual([1, 3])
  expect(tokensAt(offsets, 4, 5)).toEqual([1, 2])
  expect(tokensAt(offsets, 14, 20)).toEqual([5, 5])
  // The range covers both tokens that share a character.
  expect(tokensAt(offsets, 9, 14)).toEqual([3, 5])
})

test('the range of a token maps to itself, even if it ends within a character', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ maxLength: 5 })), fc.string({ minLength: 1 }), (before, last) => {
      const tokens = [...before, last]
      const offsets = offsetsOf(tokens)
      tokens.forEach((_, token) => {
        expect(tokensAt(offsets, offsets[token] ?? 0, offsets[token + 1] ?? 0)).toEqual([token, token + 1])
      })
    }),
  )
})
