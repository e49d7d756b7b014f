/**
 * SentencePiece's BPE, whose file has a score for each token instead of a list of merges (`tokenizer.ggml.model` `llama`).
 *
 * A text begins with a space, and spaces are written as ▁. Its characters are merged: always the neighbours whose merged
 * text is the token of the highest score, the leftmost if there are several (`llm_tokenizer_spm_session` in
 * llama-vocab.cpp of llama.cpp). Characters without a token become tokens of their bytes. A tokenizer.json has ranked
 * merges; so every way to cut a token into two tokens is a merge, in the order of the scores of the whole, as in
 * `generate_merges` of transformers (convert_slow_tokenizer.py).
 */
import { formatValue } from '../../../core/config/problems.ts'
import { UsageError } from '../../../core/errors.ts'
import { grouped } from '../../../core/text/numbers.ts'
import type { Metadata } from './metadata.ts'

/** Longest token that is cut, in characters, and most merges: published tokenizers have 48 and about 600,000 at most. */
const MAX_CHARACTERS = 128
const MAX_MERGES = 2 ** 20

const SPACE = '▁'

/** Tokens that llama.cpp takes if the metadata do not name them. */
export const sentencePieceIds = { bos_token_id: 1, eos_token_id: 2, unknown_token_id: 0 } as const

/** The tokens of bytes, which stand for characters without a token of their own. */
const byteTokens = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`)

export interface Pieces {
  readonly path: string
  /** All tokens, by id. */
  readonly tokens: readonly string[]
  /** Ids of the tokens that are used. */
  readonly ids: ReadonlyMap<string, number>
  /** Tokens that are found in a text before it is cut, such as `<s>`. */
  readonly added: ReadonlySet<string>
}

/**
 * The parts of a tokenizer.json without its vocabulary.
 * @throws UsageError if the scores do not fit the tokens or give no order, or a token of a byte is missing
 */
export function sentencePieceParts({ path, tokens, ids, added }: Pieces, metadata: Metadata) {
  const key = 'tokenizer.ggml.scores'
  const scores = metadata.numbers(key)
  if (scores.length !== tokens.length)
    throw new UsageError(`${path}: ${key} has ${grouped(scores.length)} numbers for ${grouped(tokens.length)} tokens`)
  const wrong = scores.findIndex((score) => !Number.isFinite(score))
  if (wrong >= 0)
    throw new UsageError(
      `${path}: invalid ${key}: the score of token ${wrong}, ${formatValue(tokens[wrong])}, is ${scores[wrong]} ` +
        '(expected a finite number)',
    )
  const missing = byteTokens.filter((token) => !ids.has(token))
  if (missing.length > 0)
    throw new UsageError(
      `${path}: tokenizer.ggml.tokens lacks ${missing.length} of the 256 tokens of bytes, ${missing[0]} first (they stand ` +
        'for characters without a token; use the folder of the model with its tokenizer.json)',
    )
  const isByte = new Set(byteTokens)
  const scoreOf = new Map<string, number>()
  for (const [token, id] of ids) if (!added.has(token) && !isByte.has(token)) scoreOf.set(token, scores[id] as number)
  const prefixed = metadata.flag('tokenizer.ggml.add_space_prefix', true)
  return {
    normalizer: {
      type: 'Sequence',
      normalizers: [
        ...(prefixed ? [{ type: 'Prepend', prepend: SPACE }] : []),
        { type: 'Replace', pattern: { String: ' ' }, content: SPACE },
      ],
    },
    preTokenizer: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: SPACE }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...(prefixed ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
      ],
    },
    model: { byte_fallback: true, ignore_merges: false, merges: mergesOf(path, scoreOf) },
  }
}

interface Merge {
  readonly left: string
  readonly right: string
  /** Characters of `left`. */
  readonly at: number
  readonly length: number
  readonly score: number
}

/**
 * The merges of tokens with scores, in the order of their ranks.
 * @throws UsageError if a token is too long, there are more merges than `most`, or all scores are equal
 */
export function mergesOf(
  path: string,
  scoreOf: ReadonlyMap<string, number>,
  most: number = MAX_MERGES,
): [string, string][] {
  const merges: Merge[] = []
  const seen = new Set<number>()
  let cut = 0
  for (const [token, score] of scoreOf) {
    const characters = [...token]
    if (characters.length < 2) continue
    if (characters.length > MAX_CHARACTERS)
      throw new UsageError(
        `${path}: tokenizer.ggml.tokens has a token of ${grouped(characters.length)} characters (expected at most ` +
          `${MAX_CHARACTERS})`,
      )
    cut++
    seen.add(score)
    for (let at = 1, end = 0; at < characters.length; at++) {
      end += (characters[at - 1] as string).length
      const left = token.slice(0, end)
      if (!scoreOf.has(left)) continue
      const right = token.slice(end)
      if (scoreOf.has(right)) merges.push({ left, right, at, length: characters.length, score })
    }
    if (merges.length > most)
      throw new UsageError(
        `${path}: tokenizer.ggml.tokens can be cut into two tokens in more than ${grouped(most)} ways`,
      )
  }
  if (cut > 1 && seen.size === 1)
    throw new UsageError(
      `${path}: unsupported tokenizer.ggml.scores: all tokens have the score ${[...seen][0]}, which gives no order of ` +
        'merges (use the folder of the model with its tokenizer.json)',
    )
  merges.sort((a, b) => b.score - a.score || b.at - a.at || b.length - a.length)
  return merges.map(({ left, right }) => [left, right])
}
