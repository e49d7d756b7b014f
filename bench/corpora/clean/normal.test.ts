import fc from 'fast-check'
import { expect, test } from 'vitest'
import { normalText } from './normal.ts'

test('normal text has one form of each character, and no invisible characters but joiners', () => {
  expect(normalText('cafe\u0301\u00a0x\u00ady\ufeff\u0007\u200bz\ue000')).toBe('café xyz\n')
  // Joiners belong to words of Persian, Hindi and to emoji.
  expect(normalText('می\u200cخواهم')).toBe('می\u200cخواهم\n')
})

test('line ends, trailing spaces and blank lines are made uniform; indentation stays', () => {
  expect(normalText('\n\na  \r\n\tb\r\n\n\n\n\n  c \n\n')).toBe('a\n\tb\n\n  c\n')
  expect(normalText(' \n \n')).toBe('')
})

test('a line of encoded data is left out; long prose and languages without spaces are not', () => {
  const prose = 'whale '.repeat(200).trim()
  const chinese = '鲸鱼'.repeat(300)
  expect(normalText(`a\n${'QUJD'.repeat(100)}\n${prose}\n${chinese}`)).toBe(`a\n${prose}\n${chinese}\n`)
})

test('normal text is normal again, and has no control characters', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
      const once = normalText(text)
      expect(normalText(once)).toBe(once)
      // biome-ignore lint/suspicious/noControlCharactersInRegex: the pattern matches control characters on purpose
      expect(once).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]|[ \t]\n|\n{3}/)
    }),
  )
})
