import fc from 'fast-check'
import { expect, test } from 'vitest'
import { beginningOf } from './traced-model.ts'

test.each([
  ['short', 20, 'short'],
  ['  two\n\nparagraphs ', 20, 'two paragraphs'],
  ['One two. Three four. Five six seven.', 24, 'One two. Three four.'],
  ['One. Two three four five six seven', 24, 'One. Two three four'],
  ['onewordwithoutanyend', 8, 'oneword' + 'w'],
  ['aaa 🎼', 5, 'aaa'],
  ['aaaa🎼', 5, 'aaaa'],
])('the beginning of %j of at most %i characters is %j', (text, most, expected) => {
  expect(beginningOf(text, most)).toBe(expected)
})

test('is never longer than the limit, and is a beginning of the text', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 1, max: 40 }), (text, most) => {
      const beginning = beginningOf(text, most)
      expect(beginning.length).toBeLessThanOrEqual(most)
      expect(text.replaceAll('\ufffd', '').replace(/\s+/g, ' ').trim().startsWith(beginning)).toBe(true)
      expect(beginning).not.toMatch(/\p{Surrogate}/u)
    }),
  )
})
