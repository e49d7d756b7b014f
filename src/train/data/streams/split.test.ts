import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Piece } from '../sources/piece.ts'
import { cutSections, sectionLength } from './sections.ts'
import { surveyDocuments, withSides } from './split.ts'

async function* documents(texts: readonly string[]): AsyncGenerator<Piece> {
  for (const [i, text] of texts.entries()) {
    const middle = text.length >> 1
    if (middle > 0) yield { text: text.slice(0, middle), last: false, name: `d${i}`, metadata: undefined }
    yield { text: text.slice(middle), last: true, name: `d${i}`, metadata: undefined }
  }
}

async function heldOut(texts: readonly string[], share: number, seed: number): Promise<Set<string>> {
  const split = await surveyDocuments(documents(texts), share, seed)
  expect(split.documents).toBe(texts.length)
  const names = new Set<string>()
  for await (const { piece, heldOut } of withSides(documents(texts), split)) if (heldOut) names.add(piece.name)
  return names
}

test('the held-out share is the configured one, rounded, with at least one document on each side', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 2, max: 80 }),
      fc.double({ min: 0.01, max: 0.99, noNaN: true }),
      fc.nat(),
      async (n, share, seed) => {
        const texts = Array.from({ length: n }, (_, i) => `${i} of many texts`)
        const expected = Math.max(1, Math.min(n - 1, Math.round(share * n)))
        expect((await heldOut(texts, share, seed)).size).toBe(expected)
      },
    ),
  )
})

test('the split depends on seed and text, and equal texts are on the same side', async () => {
  const texts = Array.from({ length: 60 }, (_, i) => `${i} of many texts`)
  const chosen = await heldOut(texts, 0.2, 1)
  expect(await heldOut(texts, 0.2, 1)).toEqual(chosen)
  expect(await heldOut(texts, 0.2, 2)).not.toEqual(chosen)
  const twice = await heldOut([...texts, ...texts], 0.2, 1)
  for (let i = 0; i < 60; i++) expect(twice.has(`d${i}`)).toBe(twice.has(`d${i + 60}`))
  const one = await heldOut(['same', 'same', 'same', 'other'], 0.5, 0)
  expect([1, 3]).toContain(one.size)
})

async function sections(texts: readonly string[], minLength: number): Promise<Piece[]> {
  const found: Piece[] = []
  for await (const section of cutSections(documents(texts), minLength)) found.push(section)
  return found
}

test('sections join to the text, and each is a document of minLength to twice minLength characters', async () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', ' ', '\n', '\n\n', '😀'), maxLength: 600 })
  await fc.assert(
    fc.asyncProperty(fc.array(text), fc.integer({ min: 4, max: 50 }), async (texts, minLength) => {
      const found = await sections(texts, minLength)
      expect(found.map((section) => section.text).join('')).toBe(texts.join(''))
      for (const section of found) {
        expect(section.last).toBe(true)
        expect(Buffer.from(section.text).toString()).toBe(section.text)
        expect(section.text.length).toBeLessThanOrEqual(2 * minLength)
      }
      expect(new Set(found.map((section) => section.name)).size).toBe(found.length)
    }),
  )
})

test('a section ends at a blank line, else at a line break, else before a word', async () => {
  const cut = async (text: string) => (await sections([text], 10)).map((section) => section.text)
  expect(await cut('one two three\n\nfour five six\nseven')).toEqual(['one two three\n\n', 'four five six\nseven'])
  expect(await cut('one two three\nfour five six seven')).toEqual(['one two three\n', 'four five six seven'])
  expect(await cut('one two three four five six')).toEqual(['one two three four', ' five six'])
})

test('sections have about 8 Ki characters, or a twentieth of a small text', () => {
  expect([100, 100_000, 160 << 10, 1e9].map(sectionLength)).toEqual([256, 5000, 8192, 8192])
})
