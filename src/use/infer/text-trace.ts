/**
 * Runs a text through a model and collects the choices of every token.
 *
 * The text is cut into independent sequences, as in training, and follows an end-of-document token, as every document
 * does. Experts have no capacity limit: which tokens are dropped in training depends on the whole batch, and here the
 * rest of the batch is filler. So a token has the same experts, gates and loss as in generation after the same tokens.
 */
import type { DocumentWindow } from '../../train/data/document-windows.ts'
import type { TokenStream } from '../../train/data/streams/token-stream.ts'
import type { Tokenizer } from '../../train/data/tokenizer/tokenizer.ts'
import type { CompiledTracer } from './compiled-tracer.ts'
import { CollectedRoutes, type TracedRouter } from './generation/collected-routes.ts'

/** Limits of a trace; at least one sequence is traced. */
const limits = { tokens: 2048, choices: 1_000_000 }

/** The experts of every token of a text. */
export interface TextTrace {
  /** Number of steps that the model had been trained. */
  readonly step: number
  /** Cross-entropy in nats per token. */
  readonly loss: number
  /** Text of each token. */
  readonly tokens: readonly string[]
  /** Whether the text was longer than the limit. */
  readonly cut: boolean
  readonly routers: readonly TracedRouter[]
}

/** A range of a stream: an end-of-document token, the tokens of the text, and the token after it. */
export interface TextPlace {
  readonly stream: TokenStream
  /** Position of the token before the text. */
  readonly start: number
  /** Number of tokens of the text. */
  readonly length: number
  /** Whether the token after the text counts as a target, as the end of a document does. */
  readonly ends: boolean
}

/**
 * Makes a stream of a text that is not in the data. It follows the begin token of the model. If the model has none, it
 * follows the separator of documents, so that the first token has a loss, as in an evaluation.
 */
export function pastedText(ids: Int32Array, { rules, endOfText }: Pick<Tokenizer, 'rules' | 'endOfText'>): TextPlace {
  // A negative target is not counted: the next token is unknown.
  const tokens = Int32Array.of(rules.begin ?? endOfText, ...ids, -1)
  return {
    stream: {
      length: tokens.length,
      documents: 1,
      read: (offset, into) => into.set(tokens.subarray(offset, offset + into.length)),
    },
    start: 0,
    length: ids.length,
    ends: false,
  }
}

export async function traceText(open: CompiledTracer, place: TextPlace, isCut: boolean): Promise<TextTrace> {
  const { config, tracer, tokenizer, step } = open
  const { sequence } = config.model
  const traced = Math.min(place.length, maxTokens(open))
  const isShorter = traced < place.length
  const targets = traced + (place.ends || isShorter ? 1 : 0)
  const ids: number[] = []
  const routes = new CollectedRoutes()
  let nats = 0
  for await (const batch of tracer.trace(place.stream, windowsOf(place.start, traced + 1, sequence))) {
    let counted = 0
    for (const [row, { start, length }] of batch.windows.entries()) {
      counted += Math.min(start + length, place.start + targets) - start
      // The end-of-document token in front is not part of the text.
      const from = row * sequence + (start === place.start ? 1 : 0)
      const to = row * sequence + length
      for (let t = from; t < to; t++) ids.push(batch.token_T[t] as number)
      routes.add(batch.routers, batch.token_T.length, from, to)
    }
    nats += batch.loss * counted
  }
  const stream = tokenizer.stream()
  const tokens = ids.map((id) => stream.push(id))
  if (tokens.length > 0) tokens[tokens.length - 1] += stream.end()
  return { step, loss: nats / targets, tokens, cut: isCut || isShorter, routers: routes.routers }
}

/** Number of tokens of a text that fit into whole sequences, without the end-of-document token in front. */
function maxTokens({ config }: CompiledTracer): number {
  const { sequence, layers, moe } = config.model
  const modules = { none: 1, qkv: 2, all: 3 }[moe.attention]
  const choices = layers * modules * (moe.k * moe.prototypes)
  const tokens = Math.min(limits.tokens, limits.choices / choices)
  return Math.max(1, Math.floor(tokens / sequence)) * sequence - 1
}

function windowsOf(start: number, length: number, sequence: number): DocumentWindow[] {
  return Array.from({ length: Math.ceil(length / sequence) }, (_, i) => ({
    document: 0,
    start: start + i * sequence,
    length: Math.min(sequence, length - i * sequence),
  }))
}
