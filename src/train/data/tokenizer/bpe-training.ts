/** Trains a byte-level BPE on the training documents. */
import { UsageError } from '../../../core/errors.ts'
import { nextTurn } from '../../../core/next-turn.ts'
import { hashNumbers } from '../../../core/permutation.ts'
import type { Piece } from '../sources/piece.ts'
import { learnMerges } from './merges.ts'
import { byteLevelJson } from './tokenizer-json.ts'
import { eachWord, ownString } from './words.ts'

/** Approximate maximum number of characters whose words are counted; a larger corpus is sampled evenly. */
const SAMPLE_CHARACTERS = 1 << 26

/** Number of tokens that every vocabulary has: the bytes and the end of text. */
const FIXED_TOKENS = 257

export interface BpeTraining {
  /** The training documents. */
  readonly pieces: AsyncIterable<Piece>
  /** UTF-16 units of the corpus; determines the sampled share. */
  readonly characters: number
  readonly seed: number
  /** Number of tokens, including the bytes and the end of text. */
  readonly vocabulary: number
  readonly signal?: AbortSignal | undefined
  readonly warn: (message: string) => void
  /** Called often while merges are learned, with the number of tokens made so far and the number wanted. */
  readonly onMerges?: (made: number, wanted: number) => void
}

/** Trains a BPE and returns its tokenizer.json. Warns if the text supports fewer tokens than `vocabulary`. */
export async function trainBpe(training: BpeTraining): Promise<string> {
  const { vocabulary, signal, warn, onMerges } = training
  if (vocabulary <= FIXED_TOKENS)
    throw new UsageError(
      `model.vocabulary: ${vocabulary} is too small for a BPE, which starts from ${FIXED_TOKENS} tokens (or use data.tokenizer.kind=bytes)`,
    )
  const wanted = vocabulary - FIXED_TOKENS
  const merges = await learnMerges(await countWords(training), wanted, signal, (made) => onMerges?.(made, wanted))
  const tokens = FIXED_TOKENS + new Set(merges.map(([left, right]) => left + right)).size
  if (tokens < vocabulary)
    warn(`the text supports ${tokens} tokens; ${vocabulary - tokens} of model.vocabulary ${vocabulary} stay unused`)
  return byteLevelJson(merges)
}

/** Counts how often each word of a sample occurs. A word never extends past its line. */
async function countWords({ pieces, characters, seed, signal }: BpeTraining): Promise<Map<string, number>> {
  const counts = new Map<string, number>()
  const count = (line: string): void =>
    eachWord(line, (word) => {
      const known = counts.get(word)
      counts.set(known === undefined ? ownString(word) : word, (known ?? 0) + 1)
    })
  const share = Math.min(1, SAMPLE_CHARACTERS / characters) * 2 ** 32
  let index = 0
  let rest = ''
  let since = performance.now()
  for await (const { text, last } of pieces) {
    signal?.throwIfAborted()
    if (hashNumbers(seed, index++) >= share) continue
    const lines = (rest + (last ? `${text}\n` : text)).split(/(?<=\n)/)
    // A last line without a line break continues in the next piece.
    rest = lines.at(-1)?.endsWith('\n') === false ? (lines.pop() as string) : ''
    for (const line of lines) count(line)
    if (performance.now() - since < 10) continue
    await nextTurn()
    since = performance.now()
  }
  count(rest)
  return counts
}
