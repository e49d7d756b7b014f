/**
 * Scores of texts, continuations and choices: how an item becomes tokens, and how the log-probabilities of its tokens
 * become totals.
 */
import { z } from 'zod'
import { formatValue } from '../../../core/config/problems.ts'
import { option, UsageError, wording } from '../../../core/errors.ts'
import type { Tokenizer } from '../../../train/data/tokenizer/tokenizer.ts'
import type { NamedItem, Scorable } from './scorable.ts'
import type { Scorer } from './scorer.ts'
import type { SequenceScore } from './scoring-program.ts'

export interface ScoreOptions {
  /**
   * Distance in tokens of the windows of a text that is longer than the context, from 1 to `model.sequence`; default:
   * half of `model.sequence`, rounded up. A token is predicted from all tokens before it if they fit into the context,
   * otherwise from at least `sequence` − `stride` + 1 of them. A smaller stride takes more time.
   */
  readonly stride?: number
  /**
   * Whether the token that begins a text is put before it, as in training and generation; default: true. Otherwise the
   * first token of a text is not scored, and a context must not be empty. An imported model may have no such token:
   * then a text without a context follows the separator of documents.
   */
  readonly begin?: boolean
  /** When it is aborted, scoring stops before the next pass and throws the reason of the signal. */
  readonly signal?: AbortSignal
}

export interface ScoredToken {
  readonly id: number
  /** Text of the token. The texts of consecutive tokens make up the text; a character may be in the last of its tokens. */
  readonly text: string
  /** The logarithm of the probability of the token given the tokens before it, nats; null if nothing is before it. */
  readonly logProbability: number | null
}

export interface TextScore {
  readonly tokens: readonly ScoredToken[]
  /** Sum of the log-probabilities, nats: the logarithm of the probability of the text. */
  readonly total: number
  /** Mean of the log-probabilities, nats per scored token: minus the loss. NaN if no token is scored. */
  readonly mean: number
  /** −`total` in bits per UTF-8 byte of the scored tokens, as in an evaluation. NaN if no token is scored. */
  readonly bitsPerByte: number
}

export interface ContinuationScore extends TextScore {
  /** Whether each token of the continuation was the most probable token, or as probable. */
  readonly isGreedy: boolean
}

export interface ChoicesScore {
  readonly choices: readonly ContinuationScore[]
  /** Index of the best choice, from 0: the first of equals. */
  readonly best: {
    /** By `total`, as the metric `acc` of lm-evaluation-harness. */
    readonly total: number
    /** By `mean`, the total over the tokens of the choice. */
    readonly mean: number
    /**
     * By the total over the UTF-8 bytes of the choice without white space before it. The metric `acc_norm` of
     * lm-evaluation-harness divides by the characters of the choice, which has no space before it there.
     */
    readonly perByte: number
  }
}

/** The score of a kind of item. */
export type ScoreOf<Item> = Item extends { readonly choices: readonly string[] }
  ? ChoicesScore
  : Item extends { readonly continuation: string }
    ? ContinuationScore
    : TextScore

export type Score = TextScore | ContinuationScore | ChoicesScore

/** Schemas of the plain fields of {@link ScoreOptions}. */
export const scoreFields = { stride: z.int().positive().optional(), begin: z.boolean().optional() }

/** Scores items in their order. @throws UsageError for a stride, or a continuation, that cannot be scored */
export async function scoreItems(
  scorer: Scorer,
  items: readonly NamedItem[],
  { begin = true, stride, signal }: ScoreOptions = {},
): Promise<Score[]> {
  const { tokenizer, config } = scorer.model
  const { sequence } = config.model
  if (stride !== undefined && stride > sequence)
    throw new UsageError(
      wording`invalid ${option('stride')}: ${stride} (expected at most ${sequence}, the context of the model: with a larger one, tokens would be left out)`,
    )
  const parts = await partsOf(items, tokenizer, begin)
  const sequences = parts.map(({ context, scored }) => {
    const first = begin ? beginningOf(tokenizer, context, scored) : []
    const before = first.length + context.length
    const ids = new Int32Array(before + scored.length)
    ids.set(first)
    ids.set(context, first.length)
    ids.set(scored, before)
    return { ids, from: Math.max(1, before) }
  })
  const scores = await scorer.score(sequences, stride ?? Math.ceil(sequence / 2), signal)
  const results = parts.map((part, i) => continuationScore(part, scores[i] as SequenceScore, tokenizer)).values()
  const next = () => results.next().value as ContinuationScore
  return items.map(({ item }): Score => {
    if (typeof item !== 'string' && 'choices' in item) return choicesScore(item.choices, item.choices.map(next))
    const { isGreedy, ...score } = next()
    return typeof item !== 'string' && 'continuation' in item ? { ...score, isGreedy } : score
  })
}

/**
 * The token that begins a text. A model without such a token reads a context as it is, and a text without a context
 * after the separator of documents, so that its first token is scored; a text that begins with the token already gets no
 * second one. lm-evaluation-harness does so too (`prefix_token_id`, `has_bos_prefix`).
 */
function beginningOf({ rules, endOfText }: Tokenizer, context: Int32Array, scored: Int32Array): number[] {
  const isAlone = context.length === 0
  if (rules.begin === null) return isAlone ? [endOfText] : []
  return (isAlone ? scored : context)[0] === rules.begin ? [] : [rules.begin]
}

/** The text before the scored text, null for a whole text; and both together. */
interface Pair {
  readonly context: string | null
  readonly whole: string
}

function pairsOf(item: Scorable): Pair[] {
  if (typeof item === 'string') return [{ context: null, whole: item }]
  if ('text' in item) return [{ context: null, whole: item.text }]
  const context = item.context.trimEnd()
  const continuations = 'choices' in item ? item.choices : [item.continuation]
  return continuations.map((continuation) => ({ context, whole: item.context + continuation }))
}

/** Tokens of a context, and the tokens after it, which are scored. */
interface Part {
  readonly context: Int32Array
  readonly scored: Int32Array
}

/**
 * The tokens of each item; the choices of an item are consecutive parts.
 *
 * A continuation has the tokens of context and continuation together after the first n, where n is the number of tokens
 * of the context alone; white space at the end of the context belongs to the continuation. lm-evaluation-harness cuts
 * in this way (`_encode_pair` in `lm_eval/api/model.py`), so its results can be compared.
 */
async function partsOf(items: readonly NamedItem[], tokenizer: Tokenizer, begin: boolean): Promise<Part[]> {
  const pairs = items.flatMap(({ item, name }) => pairsOf(item).map((pair) => ({ ...pair, name })))
  const ids = await tokenizer.encodeBatch(pairs.flatMap(({ context, whole }) => [context ?? '', whole]))
  return pairs.map(({ name, context, whole }, i) => {
    if (context === '' && !begin)
      throw new UsageError(
        `invalid ${name}: its context is empty (expected text, since without a begin token nothing is before the continuation)`,
      )
    const before = ids[2 * i] as Int32Array
    const scored = (ids[2 * i + 1] as Int32Array).subarray(before.length)
    if (scored.length > 0) return { context: before, scored }
    const shown = formatValue(whole.slice(context?.length ?? 0))
    throw new UsageError(
      context
        ? `invalid ${name}: the continuation ${shown} has no token of its own, because it joins the last token of the ` +
            'context (let it begin with a space, or move the beginning of its word to it)'
        : `invalid ${name}: ${shown} has no tokens`,
    )
  })
}

function continuationScore(
  { context, scored }: Part,
  { logProbabilities, greedy }: SequenceScore,
  tokenizer: Tokenizer,
): ContinuationScore {
  const stream = tokenizer.stream()
  // The text of a token may depend on the tokens before it.
  for (const id of context) stream.push(id)
  const texts = Array.from(scored, (id) => stream.push(id))
  texts[texts.length - 1] += stream.end()
  const unscored = scored.length - logProbabilities.length
  const tokens = Array.from(scored, (id, i) => ({
    id,
    text: texts[i] as string,
    logProbability: logProbabilities[i - unscored] ?? null,
  }))
  const total = logProbabilities.reduce((sum, value) => sum + value, 0)
  const bytes = scored.subarray(unscored).reduce((sum, id) => sum + (tokenizer.bytesOf[id] ?? 0), 0)
  const bitsPerByte = -total / Math.LN2 / bytes
  return { tokens, total, mean: total / logProbabilities.length, bitsPerByte, isGreedy: !greedy.includes(0) }
}

function choicesScore(texts: readonly string[], choices: readonly ContinuationScore[]): ChoicesScore {
  const best = (measure: (choice: ContinuationScore, text: string) => number): number => {
    const values = choices.map((choice, i) => measure(choice, texts[i] as string))
    return values.indexOf(Math.max(...values))
  }
  return {
    choices,
    best: {
      total: best(({ total }) => total),
      mean: best(({ mean }) => mean),
      perByte: best(({ total }, text) => total / Math.max(1, utf8Length(text.trimStart()))),
    },
  }
}

const utf8Length = (text: string): number => new TextEncoder().encode(text).length
