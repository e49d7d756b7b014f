/** Measures how well gzip compresses held-out text. A model that has learnt anything needs fewer bits per byte. */
import { promisify } from 'node:util'
import { constants, gzip } from 'node:zlib'
import type { Dataset } from '../../train/data/dataset.ts'

/**
 * Number of tokens that are compressed at most: about a megabyte of text, which takes a tenth of a second. Gzip looks
 * back 32 kB, so more text would not be compressed better.
 */
const MAX_TOKENS = 250_000

/** Bits per byte of the held-out text, or of its first quarter of a million tokens, at gzip's highest level. */
export async function gzipBitsPerByte({ heldOut, tokenizer }: Pick<Dataset, 'heldOut' | 'tokenizer'>): Promise<number> {
  const tokens = new Int32Array(Math.min(heldOut.length, MAX_TOKENS))
  heldOut.read(0, tokens)
  const text = Buffer.from(tokenizer.decode(tokens.filter((token) => token !== tokenizer.endOfText)))
  const compressed = await promisify(gzip)(text, { level: constants.Z_BEST_COMPRESSION })
  return (8 * compressed.length) / text.length
}
