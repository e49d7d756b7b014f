import { expect, test } from 'vitest'
import { dictionaryTexts } from './dictionary.ts'

test('documents have whole entries without braces, and together give the dictionary again', () => {
  const entry = (i: number): string =>
    `word${i} \\word\\ n.\n   1. a meaning of {word} ${'x '.repeat(50)}\n\n   [1913 Webster]\n\n`
  const source = Array.from({ length: 300 }, (_, i) => entry(i)).join('')
  const texts = [...dictionaryTexts(source)]
  expect(texts.join('')).toBe(source.replaceAll('{word}', 'word'))
  expect(texts.length).toBeGreaterThan(3)
  for (const text of texts) expect(text).toMatch(/^word\d+ [\s\S]*\[1913 Webster\]\n\n$/)
  for (const text of texts.slice(0, -1)) expect(text.length).toBeGreaterThan(7500)
  expect([...dictionaryTexts('')]).toEqual([])
})
