import { expect, test } from 'vitest'
import { runSchema } from '../../../core/config/run-config.ts'
import { MAX_ARENA_BYTES } from '../../../engine/contract/arena.ts'
import { rowsAtOnce, scratchOfTexts } from './token-memory.ts'

const modelOf = (sequence: number, vocabulary = 1000) =>
  runSchema.parse({ model: { vocabulary, layers: 8, width: 512, heads: 8, sequence, moe: null } }).model

test('a store reserves memory for as many texts as fit, by halves', () => {
  // Two tables of 512 columns in each of 8 layers: 4096 positions take 128 MiB, so 8 texts are a GiB by their tables alone.
  const model = modelOf(4096)
  const caches = (texts: number) => texts * 2 * 8 * 4096 * 512
  const [one, four, eight, many] = [1, 4, 8, 100].map((texts) => scratchOfTexts(model, texts)) as [
    number,
    number,
    number,
    number,
  ]
  expect(one).toBeGreaterThan(caches(1))
  expect(four).toBeGreaterThan(caches(4))
  expect(eight).toBe(four)
  expect(many).toBe(scratchOfTexts(model, 6))
  expect(4 * many).toBeLessThanOrEqual(MAX_ARENA_BYTES / 4)
  // Memory for more than whole contexts, which does not fit, leaves that for whole contexts.
  expect(scratchOfTexts(model, { texts: 1, pages: 1e6 })).toBe(one)
})

test('programs compute 1, 2, 4, ... texts at once, at most as many as there are contexts, and fewer beside a large head', () => {
  expect(rowsAtOnce(modelOf(64), 2, 7)).toEqual([4, 2, 1])
  expect(rowsAtOnce(modelOf(64), 2, 1000)).toEqual([16, 8, 4, 2, 1])
  // A row and its logits take 8 · (2560 + 500,000) bytes on one thread, and there are 16 MiB.
  expect(rowsAtOnce(modelOf(64, 500_000), 1, 16)).toEqual([4, 2, 1])
})
