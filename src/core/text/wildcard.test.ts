import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ANY, matchesParts, type PatternPart } from './wildcard.ts'

/** Matches by the definition of a wildcard, in exponential time. */
function matchesSlowly([part, ...pattern]: readonly PatternPart[], text: readonly string[]): boolean {
  if (part === undefined) return text.length === 0
  if (part === ANY)
    return matchesSlowly(pattern, text) || (text.length > 0 && matchesSlowly([part, ...pattern], text.slice(1)))
  const [character, ...rest] = text
  if (character === undefined) return false
  return (typeof part === 'string' ? part === character : part(character)) && matchesSlowly(pattern, rest)
}

const isVowel = (character: string): boolean => 'aeiou'.includes(character)

test('a text matches a pattern if its characters can be shared out among the parts', () => {
  const parts = fc.array(fc.constantFrom<PatternPart>('a', 'b', isVowel, ANY, ANY), { maxLength: 8 })
  const texts = fc.array(fc.constantFrom('a', 'b', 'e'), { maxLength: 9 })
  fc.assert(
    fc.property(parts, texts, (pattern, text) => {
      expect(matchesParts(pattern, text)).toBe(matchesSlowly(pattern, text))
    }),
    { numRuns: 3000 },
  )
})

test('wildcards between characters that nearly match take time in proportion to pattern and text', () => {
  const pattern = [...Array.from({ length: 1000 }, () => [ANY, 'a'] as const).flat(), 'b']
  const began = performance.now()
  expect(
    matchesParts(
      pattern,
      Array.from({ length: 10_000 }, () => 'a'),
    ),
  ).toBe(false)
  expect(performance.now() - began).toBeLessThan(2000)
})
