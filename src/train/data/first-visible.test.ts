import { expect, test } from 'vitest'
import { dataSchema } from '../../core/config/data-config.ts'
import { firstVisible, separatorOf } from './first-visible.ts'

test('a separator belongs to the document after it, and every window starts afresh', () => {
  const end = 9
  const tokens = Int32Array.from([1, 2, end, 3, 4, 5, 6, end, end, 7, 8, 1, end, 1, 2])
  const first = new Int32Array(tokens.length).fill(-1)
  firstVisible(tokens, 5, end, first)
  expect([...first]).toEqual([0, 0, 2, 2, 2, 0, 0, 2, 3, 3, 0, 0, 2, 2, 2])
})

test('attention crosses documents by default', () => {
  const tokenizer = { endOfText: 256 }
  expect(separatorOf(dataSchema.parse({}), tokenizer)).toBeUndefined()
  expect(separatorOf(dataSchema.parse({ crossDocuments: false }), tokenizer)).toBe(256)
})
