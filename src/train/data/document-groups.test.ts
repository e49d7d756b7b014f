import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { HeldOutDocument } from './dataset.ts'
import { type DocumentGroups, groupDocuments, MAX_DOMAINS, MAX_GROUPS } from './document-groups.ts'

/** Consecutive documents from position 1 on; each has the given length, and the name of its domain in its own. */
function documentsOf(lengths: readonly (readonly [domain: string, length: number])[]): HeldOutDocument[] {
  let start = 1
  return lengths.map(([domain, length], i) => {
    const document = { name: `${domain}.jsonl:${i + 1}`, start, length }
    start += length
    return document
  })
}

const grouped = (documents: readonly HeldOutDocument[]): Promise<DocumentGroups> =>
  groupDocuments({
    async *heldOutDocuments() {
      yield* documents
    },
  })

/** The group of every position, read in pieces of `size`. */
function groupsOf(groups: DocumentGroups, length: number, size: number): number[] {
  const all = new Int32Array(length)
  for (let at = 0; at < length; at += size) groups.read(at, all.subarray(at, Math.min(length, at + size)))
  return [...all]
}

const corpora = fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.integer({ min: 1, max: 9 })), {
  minLength: 1,
  maxLength: 300,
})

test('a position has the group of its document, and a group has documents of one domain', async () => {
  await fc.assert(
    fc.asyncProperty(corpora, fc.integer({ min: 1, max: 50 }), async (lengths, size) => {
      const documents = documentsOf(lengths)
      const groups = await grouped(documents)
      const end = documents.reduce((sum, { length }) => sum + length, 1)
      const all = groupsOf(groups, end + 3, size)
      expect(all[0]).toBe(-1)
      expect(all.slice(end)).toEqual([-1, -1, -1])
      const domainOf = groups.domains.flatMap(({ name, groups: count }) => new Array<string>(count).fill(name))
      for (const [i, { start, length }] of documents.entries()) {
        const own = new Set(all.slice(start, start + length))
        expect(own.size).toBe(1)
        const [group = -1] = own
        expect(domainOf[group]).toBe(lengths[i]?.[0])
      }
      // No group is empty.
      expect(new Set(all.slice(1, end)).size).toBe(groups.groups)
      expect(groups.groups).toBe(Math.min(MAX_GROUPS, documents.length))
      expect(groups.documents).toBe(documents.length)
    }),
    { numRuns: 60 },
  )
})

test('up to 64 documents have a group each', async () => {
  const documents = documentsOf(Array.from({ length: 64 }, (_, i) => [i < 60 ? 'a' : 'b', 2]))
  const all = groupsOf(await grouped(documents), 129, 129)
  expect(new Set(all.slice(1)).size).toBe(64)
})

test('domains have groups in proportion to their tokens, but at least two', async () => {
  const documents = documentsOf([
    ...Array.from({ length: 5000 }, (): [string, number] => ['large', 3]),
    ...Array.from({ length: 100 }, (): [string, number] => ['middle', 50]),
    ...Array.from({ length: 3 }, (): [string, number] => ['small', 1]),
  ])
  const { domains } = await grouped(documents)
  // 15,000 and 5,000 of 20,003 tokens are worth 46.5 and 15.5 of the 62 groups that the small domain leaves.
  expect(domains.map(({ name, groups }) => [name, groups])).toEqual([
    ['large', expect.toSatisfy((groups: number) => groups === 46 || groups === 47)],
    ['middle', expect.toSatisfy((groups: number) => groups === 15 || groups === 16)],
    ['small', 2],
  ])
})

test('the groups of a domain have the same number of documents, from all over the source', async () => {
  const groups = await grouped(documentsOf(Array.from({ length: 6400 }, () => ['a', 1])))
  const all = groupsOf(groups, 6401, 6401).slice(1)
  const places = Array.from({ length: 64 }, (_, group) => all.flatMap((of, place) => (of === group ? [place] : [])))
  for (const own of places) {
    expect(own).toHaveLength(100)
    // On average, half of 100 random places are in the first half of the source; the standard deviation is 5.
    const early = own.filter((place) => place < 3200).length
    expect(Math.abs(early - 50)).toBeLessThan(25)
  }
  // In a random order, one pair of neighbours in 64 shares a group: 100 pairs on average.
  const neighbours = all.filter((group, place) => group === all[place + 1]).length
  expect(neighbours).toBeGreaterThan(50)
  expect(neighbours).toBeLessThan(160)
})

test('the smallest domains beyond 16 are merged into one', async () => {
  const documents = documentsOf(
    Array.from({ length: 20 }, (_, i): [string, number][] => [
      [`domain${String.fromCharCode(97 + i)}`, 100 - i],
      [`domain${String.fromCharCode(97 + i)}`, 1],
    ]).flat(),
  )
  const { domains } = await grouped(documents)
  expect(domains).toHaveLength(MAX_DOMAINS + 1)
  expect(domains.at(-1)).toEqual({ name: 'other', groups: 8 })
  expect(domains[0]).toEqual({ name: 'domaina', groups: 2 })
})
