/** Wraps Hugging Face's own library, for tokenizers of any form (Unigram, WordPiece, other word patterns). */
import { createRequire } from 'node:module'
import type * as Tokenizers from 'tokenizers'
import { UsageError } from '../../errors.ts'

const require = createRequire(import.meta.url)

/** Path of the library, for a thread or process that loads it. */
export const tokenizersPath = (): string => require.resolve('tokenizers')

export interface NativeTokenizer {
  encode(text: string): Promise<Int32Array>
  /** Runs on all cores, off the JavaScript thread. */
  encodeBatch(texts: readonly string[]): Promise<Int32Array[]>
  /** Decodes a sequence of tokens. */
  decodeTokens(tokens: string[]): string
}

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
