import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { bytesTokenizer } from '../../train/data/tokenizer/tokenizer.ts'
import { gzipBitsPerByte } from './gzip.ts'

test('bits per byte are the bits of the gzip file per byte of text, without the separators of documents', async () => {
  const tokenizer = bytesTokenizer()
  const documents = ['a man a plan a canal '.repeat(50), 'übung '.repeat(99)]
  const tokens = documents.flatMap((text) => [...Buffer.from(text), tokenizer.endOfText])
  const heldOut = {
    length: tokens.length,
    documents: 2,
    read: (offset: number, into: Int32Array) => into.set(tokens.slice(offset, offset + into.length)),
  }
  const text = Buffer.from(documents.join(''))
  expect(await gzipBitsPerByte({ heldOut, tokenizer })).toBe((8 * gzipSync(text, { level: 9 }).length) / text.length)
})
