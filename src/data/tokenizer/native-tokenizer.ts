/** Tokenizers of any form (Unigram, WordPiece, other word patterns), by Hugging Face's own library. */
import { createRequire } from 'node:module'
import type * as Tokenizers from 'tokenizers'
import { UsageError } from '../../errors.ts'
import { createTokenizer, type NativeTokenizer, type Tokenizer } from './tokenizer.ts'

const require = createRequire(import.meta.url)

/**
 * @param where names the file in messages
 * @throws UsageError if it is not a tokenizer.json or has no end-of-text token
 */
export const tokenizerFromJson = (json: string, where = 'tokenizer.json'): Tokenizer =>
  createTokenizer(json, where, nativeTokenizer)

/** @throws UsageError naming `where` if the library refuses the tokenizer.json */
export function nativeTokenizer(json: string, where: string): NativeTokenizer {
  const { Tokenizer } = require('tokenizers') as typeof Tokenizers
  let tokenizer: Tokenizers.Tokenizer
  try {
    tokenizer = Tokenizer.fromString(json)
  } catch (error) {
    throw new UsageError(`${where} is not a Hugging Face tokenizer.json: ${(error as Error).message}`)
  }
  // The file may request padding or truncation; we cut windows ourselves.
  tokenizer.disablePadding()
  tokenizer.disableTruncation()
  const decoder = tokenizer.getDecoder()
  const bare = { addSpecialTokens: false }
  const idsOf = (encoding: Tokenizers.Encoding) => Int32Array.from(encoding.getIds())
  return {
    encode: async (text) => idsOf(await tokenizer.encode(text, null, bare)),
    encodeBatch: async (texts) => (await tokenizer.encodeBatch([...texts], bare)).map(idsOf),
    decodeTokens: (tokens) => (decoder ? decoder.decode(tokens) : tokens.join(' ')),
  }
}
