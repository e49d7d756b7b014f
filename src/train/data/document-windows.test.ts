import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { HeldOutDocument } from './dataset.ts'
import { sampleWindows } from './document-windows.ts'

/** A stream of documents of the given lengths, each including its end-of-text token. */
function shelf(lengths: readonly number[]) {
  let start = 1
  const documents = lengths.map((tokens, i): HeldOutDocument => {
    const document = { name: `${i}`, start, length: tokens + 1 }
    start += tokens + 1
    return document
  })
  return {
    heldOut: { length: start, documents: lengths.length, read: () => {} },
    async *heldOutDocuments() {
      yield* documents
    },
  }
}

const limits = fc.record({ sequence: fc.integer({ min: 1, max: 16 }), tokens: fc.integer({ min: 1, max: 400 }) })
const lengths = fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 60 })

test('a window lies within its document, excludes the end of text, and overlaps no other', async () => {
  await fc.assert(
    fc.asyncProperty(lengths, limits, async (lengths, limits) => {
      const { documents, windows } = await sampleWindows(shelf(lengths), limits)
      let before = 0
      for (const { document, start, length } of windows) {
        const place = documents[document] as HeldOutDocument
        expect(length).toBeGreaterThan(0)
        expect(length).toBeLessThanOrEqual(limits.sequence)
        expect(start).toBeGreaterThanOrEqual(Math.max(before, place.start))
        before = start + length
        expect(before).toBeLessThanOrEqual(place.start + place.length - 1)
      }
    }),
  )
})

test('the sample respects its limit, and every document in it has a window', async () => {
  await fc.assert(
    fc.asyncProperty(lengths, limits, async (lengths, limits) => {
      const { documents, windows } = await sampleWindows(shelf(lengths), limits)
      expect(windows.length * limits.sequence).toBeLessThanOrEqual(Math.max(limits.tokens, limits.sequence))
      expect(new Set(windows.map(({ document }) => document)).size).toBe(documents.length)
    }),
  )
})

test('documents that fit are taken completely, in consecutive windows', async () => {
  const { windows } = await sampleWindows(shelf([8, 4]), { sequence: 4, tokens: 1000 })
  expect(windows).toEqual([
    { document: 0, start: 1, length: 4 },
    { document: 0, start: 5, length: 4 },
    { document: 1, start: 10, length: 4 },
  ])
})

test('windows of a long document are spread over it', async () => {
  const { windows } = await sampleWindows(shelf([100]), { sequence: 10, tokens: 20 })
  expect(windows.map(({ start }) => start)).toEqual([1 + 20, 1 + 10 + 60])
})

test('with more documents than windows, the chosen documents are spread over the list', async () => {
  const { documents } = await sampleWindows(shelf(Array(100).fill(10)), { sequence: 10, tokens: 40 })
  expect(documents.map(({ name }) => Number(name))).toEqual([12, 37, 62, 87])
})

test('windows that short documents cannot use go to longer ones, up to the limit per document', async () => {
  const count = async (perDocument?: number) => {
    const { windows } = await sampleWindows(shelf([10, 1000, 1000]), {
      sequence: 10,
      tokens: 110,
      ...(perDocument && { perDocument }),
    })
    return [0, 1, 2].map((d) => windows.filter(({ document }) => document === d).length)
  }
  expect(await count()).toEqual([1, 5, 5])
  expect(await count(30)).toEqual([1, 3, 3])
})
