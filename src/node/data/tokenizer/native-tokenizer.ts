/** Runs tokenizers of any form (Unigram, WordPiece, other word patterns) with Hugging Face's own library. */
import { createRequire } from 'node:module'
import type * as Tokenizers from 'tokenizers'
import { formatValue } from '../../../core/config/problems.ts'
import { RunError, UsageError } from '../../../core/errors.ts'
import type { TextRules } from '../../../train/data/tokenizer/text-rules.ts'
import { createTokenizer, type NativeTokenizer, type Tokenizer } from '../../../train/data/tokenizer/tokenizer.ts'

const require = createRequire(import.meta.url)

/**
 * Creates a tokenizer from the contents of a tokenizer.json.
 * @param where Name of the file in messages.
 * @param rules Rules for texts; default: the rules of the tokenizer.json.
 * @throws UsageError if it is not a tokenizer.json, has no end-of-text token, or lacks the token before a text
 * @throws RunError if the package `tokenizers` cannot be loaded
 */
export const tokenizerFromJson = (json: string, where = 'tokenizer.json', rules?: TextRules): Tokenizer =>
  createTokenizer(json, where, nativeTokenizer, rules)

/** Loads the package `tokenizers`, which is optional. @throws RunError if it cannot be loaded */
function tokenizers(): typeof Tokenizers {
  try {
    return require('tokenizers') as typeof Tokenizers
  } catch (error) {
    const reason = (error as Error).message.split('\n')[0]
    throw new RunError(`the package tokenizers, which reads text, cannot be loaded: ${reason} (npm install tokenizers)`)
  }
}

/**
 * Opens a tokenizer.json with the library.
 * @throws UsageError naming `where` if the library refuses the file
 * @throws RunError if the package `tokenizers` cannot be loaded
 */
export function nativeTokenizer(json: string, where: string): NativeTokenizer {
  expectPrefixes(json, where)
  const { Tokenizer } = tokenizers()
  const open = (): Tokenizers.Tokenizer => {
    const tokenizer = Tokenizer.fromString(json)
    // The file may request padding or truncation; we cut windows ourselves.
    tokenizer.disablePadding()
    tokenizer.disableTruncation()
    return tokenizer
  }
  let tokenizer: Tokenizers.Tokenizer
  let decoder: Tokenizers.Decoder | null
  try {
    tokenizer = open()
    decoder = tokenizer.getDecoder()
  } catch (error) {
    throw new UsageError(`${where} is not a Hugging Face tokenizer.json: ${(error as Error).message}`)
  }
  // Some faults show only when a text needs the rule, for example that the token for unknown characters is missing.
  const failed = (what: string, error: unknown): RunError =>
    new RunError(`cannot ${what} with ${where}: ${(error as Error).message}`)
  const encoding = <T>(ids: Promise<T>): Promise<T> =>
    ids.catch((error: unknown) => {
      throw failed('encode', error)
    })
  const bare = { addSpecialTokens: false }
  const idsOf = (encoding: Tokenizers.Encoding) => Int32Array.from(encoding.getIds())
  return {
    encode: async (text) => idsOf(await encoding(tokenizer.encode(text, null, bare))),
    encodeBatch: async (texts) => (await encoding(tokenizer.encodeBatch([...texts], bare))).map(idsOf),
    decodeTokens(tokens) {
      try {
        return decoder ? decoder.decode(tokens) : tokens.join(' ')
      } catch (error) {
        throw failed('decode', error)
      }
    },
  }
}

/**
 * The library cuts the prefix off the second token of every merge, and ends the process if the token is shorter.
 * @throws UsageError naming the merge
 */
function expectPrefixes(json: string, where: string): void {
  const { model } = JSON.parse(json) as { model?: { continuing_subword_prefix?: unknown; merges?: unknown } }
  const prefix = model?.continuing_subword_prefix
  if (typeof prefix !== 'string' || !Array.isArray(model?.merges)) return
  for (const merge of model.merges as unknown[]) {
    // Older files write a pair as one string with a space between the tokens.
    const [, second] = typeof merge === 'string' ? merge.split(' ') : Array.isArray(merge) ? merge : []
    if (typeof second === 'string' && !second.startsWith(prefix))
      throw new UsageError(
        `${where} is not a Hugging Face tokenizer.json: in model.merges, ${formatValue(second)} does not begin with ` +
          `model.continuing_subword_prefix, ${formatValue(prefix)}`,
      )
  }
}
