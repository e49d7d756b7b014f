/**
 * A text through a model, with the choices of every token.
 *
 * The text is cut into sequences as training cuts it, each without a memory of the one before; in front of it stands
 * the end of a document, as in front of every document. Experts have no capacity limit: who goes without in training
 * depends on the whole batch, and the rest of a batch is only filler here. So a token has the experts, the gates and
 * the loss that it has in generation, whatever fills up its batch.
 */
import type { DocumentWindow } from '../../data/document-windows.ts'
import type { TokenStream } from '../../data/streams/token-stream.ts'
import type { CompiledTracer } from '../../infer/routing-trace.ts'
import type { BatchTrace, RouterTrace } from '../../infer/routing-tracer.ts'
import type { TokenRouter } from '../api.ts'
import type { UnnamedTrace } from './messages.ts'

/** Tokens that are looked at, and choices that are told, at most; but at least a sequence. */
const most = { tokens: 2048, choices: 1_000_000 }

/** A stretch of a stream: the end of a document, the tokens of the text, and what comes after. */
export interface TextPlace {
  readonly stream: TokenStream
  /** Where the end of a document stands that the text follows. */
  readonly start: number
  /** Tokens of the text. */
  readonly length: number
  /** Whether the token after the text belongs to it as a target, as the end of a document does. */
  readonly ends: boolean
}

/** A text that was not in the data. */
export function pastedText(ids: Int32Array, endOfText: number): TextPlace {
  // A negative target does not count: nobody knows what would come next.
  const tokens = Int32Array.of(endOfText, ...ids, -1)
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

export async function traceText(
  open: CompiledTracer,
  place: TextPlace,
  isCut: boolean,
): Promise<UnnamedTrace & { readonly loss: number }> {
  const { config, tracer, tokenizer, step } = open
  const { sequence } = config.model
  const looked = Math.min(place.length, longestText(open))
  const isShorter = looked < place.length
  const targets = looked + (place.ends || isShorter ? 1 : 0)
  const ids: number[] = []
  const routers: Gathered[] = []
  let nats = 0
  for await (const batch of tracer.trace(place.stream, windowsOf(place.start, looked + 1, sequence))) {
    let counted = 0
    for (const [row, { start, length }] of batch.windows.entries()) {
      counted += Math.min(start + length, place.start + targets) - start
      // The end of a document in front is no token of the text.
      const from = row * sequence + (start === place.start ? 1 : 0)
      const to = row * sequence + length
      for (let t = from; t < to; t++) ids.push(batch.token_T[t] as number)
      for (const [r, router] of batch.routers.entries()) {
        routers[r] ??= gathered(router, batch)
        gather(routers[r], router, from, to)
      }
    }
    nats += batch.loss * counted
  }
  const stream = tokenizer.stream()
  const tokens = ids.map((id) => stream.push(id))
  if (tokens.length > 0) tokens[tokens.length - 1] += stream.end()
  return { step, loss: nats / targets, tokens, cut: isCut || isShorter, routers }
}

/** Tokens of a text that fit into whole sequences, less the end of a document in front. */
function longestText({ config }: CompiledTracer): number {
  const { sequence, layers, moe } = config.model
  const modules = { none: 1, qkv: 2, all: 3 }[moe.attention]
  const choices = layers * modules * (moe.k * moe.prototypes)
  const tokens = Math.min(most.tokens, most.choices / choices)
  return Math.max(1, Math.floor(tokens / sequence)) * sequence - 1
}

function windowsOf(start: number, length: number, sequence: number): DocumentWindow[] {
  return Array.from({ length: Math.ceil(length / sequence) }, (_, i) => ({
    document: 0,
    start: start + i * sequence,
    length: Math.min(sequence, length - i * sequence),
  }))
}

type Gathered = TokenRouter & { readonly expert: number[]; readonly gate: number[] }

function gathered({ layer, module, experts, prototypes, expert_TK }: RouterTrace, { token_T }: BatchTrace): Gathered {
  const choices = expert_TK.length / token_T.length
  return { layer, module, experts, prototypes, choices, expert: [], gate: [] }
}

function gather(into: Gathered, { expert_TK, gate_TK }: RouterTrace, from: number, to: number): void {
  for (let i = from * into.choices; i < to * into.choices; i++) {
    into.expert.push(expert_TK[i] as number)
    // Four digits are more than a colour or a tooltip shows.
    into.gate.push(Number((gate_TK[i] as number).toPrecision(4)))
  }
}
