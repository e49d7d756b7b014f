/** How texts become the choices of a response: those of completions, and those of chats. */
import type { Tokenizer } from '../../train/data/tokenizer/tokenizer.ts'
import type { TextRoutes, WrittenToken } from '../../use/infer/streams/contract.ts'
import type { RatedToken, TokenProbability } from '../../use/infer/streams/token-probabilities.ts'
import type { Prompt } from './prompts.ts'

/** A text and its rated tokens. */
export interface Part {
  readonly text: string
  readonly tokens: readonly WrittenToken[]
}

/** The objects of an endpoint. */
export interface Format {
  readonly idPrefix: string
  readonly object: string
  readonly chunkObject: string
  /**
   * What comes before a text, such as its prompt; null if nothing does.
   * @param rated The tokens of the prompt from the second on, if they are rated.
   */
  begin(prompt: Prompt, rated: readonly RatedToken[] | null): object | null
  /** A part of a text in a stream. */
  piece(prompt: Prompt, part: Part): object
  /** The end of a text in a stream. */
  last(): object
  /** A whole text. */
  whole(prompt: Prompt, rated: readonly RatedToken[] | null, part: Part): object
}

export interface FormatOptions {
  readonly tokenizer: Tokenizer
  /** Whether tokens are rated. */
  readonly rated: boolean
  /** Whether a completion begins with its prompt. */
  readonly echo: boolean
}

export function completionFormat({ tokenizer, rated: isRated, echo }: FormatOptions): Format {
  const choice = (text: string, logprobs: CompletionLogprobs) => ({ text, logprobs: isRated ? logprobs : null })
  const written = (prompt: Prompt, tokens: readonly WrittenToken[]) =>
    logprobsOf(tokens, tokenizer, (i) => (tokens[i] as WrittenToken).offset + (echo ? prompt.text.length : 0))
  return {
    idPrefix: 'cmpl-',
    object: 'text_completion',
    chunkObject: 'text_completion',
    begin: (prompt, rated) => (echo ? choice(prompt.text, promptLogprobs(prompt, rated ?? [], tokenizer)) : null),
    piece: (prompt, { text, tokens }) => choice(text, written(prompt, tokens)),
    last: () => ({ text: '', logprobs: null }),
    whole(prompt, rated, { text, tokens }) {
      const own = written(prompt, tokens)
      if (!echo) return choice(text, own)
      const before = promptLogprobs(prompt, rated ?? [], tokenizer)
      return choice(prompt.text + text, joined(before, own))
    },
  }
}

interface CompletionLogprobs {
  readonly tokens: readonly string[]
  readonly token_logprobs: readonly (number | null)[]
  readonly top_logprobs: readonly (Readonly<Record<string, number>> | null)[]
  readonly text_offset: readonly number[]
}

function joined(a: CompletionLogprobs, b: CompletionLogprobs): CompletionLogprobs {
  return {
    tokens: [...a.tokens, ...b.tokens],
    token_logprobs: [...a.token_logprobs, ...b.token_logprobs],
    top_logprobs: [...a.top_logprobs, ...b.top_logprobs],
    text_offset: [...a.text_offset, ...b.text_offset],
  }
}

function logprobsOf(
  tokens: readonly RatedToken[],
  tokenizer: Tokenizer,
  offsetOf: (index: number) => number,
): CompletionLogprobs {
  return {
    tokens: tokens.map(({ id }) => tokenText(id, tokenizer)),
    token_logprobs: tokens.map(({ logProbability }) => logProbability),
    // The token itself is there even if it is none of the most probable ones. Of tokens with the same text, such as the
    // bytes of SentencePiece, the most probable one counts, so that clients find the largest value.
    top_logprobs: tokens.map((token) =>
      Object.fromEntries(
        [token, ...token.top.toReversed()].map((each) => [tokenText(each.id, tokenizer), each.logProbability]),
      ),
    ),
    text_offset: tokens.map((_, i) => offsetOf(i)),
  }
}

/** The tokens of a prompt without its begin token. A first token that follows nothing has no probability. */
function promptLogprobs({ ids, before }: Prompt, rated: readonly RatedToken[], tokenizer: Tokenizer) {
  const stream = tokenizer.stream()
  for (const id of ids.slice(0, before)) stream.push(id)
  let length = 0
  const offsets = ids.slice(before).map((id) => {
    const offset = length
    length += stream.push(id).length
    return offset
  })
  const known = logprobsOf(rated, tokenizer, (i) => offsets[i + 1 - before] as number)
  if (before > 0 || ids[0] === undefined) return known
  const first = { tokens: [tokenText(ids[0], tokenizer)], token_logprobs: [null], top_logprobs: [null] }
  return joined({ ...first, text_offset: [0] }, known)
}

export function chatFormat({ tokenizer, rated: isRated }: FormatOptions): Format {
  const probability = ({ id, logProbability }: TokenProbability) => {
    const bytes = tokenizer.bytes(id)
    return { token: tokenText(id, tokenizer), logprob: logProbability, bytes: [...bytes] }
  }
  const logprobs = (tokens: readonly WrittenToken[]) => {
    if (!isRated) return null
    const content = tokens
      .filter(({ id }) => !tokenizer.rules.end.includes(id))
      .map((token) => ({ ...probability(token), top_logprobs: token.top.map(probability) }))
    return { content, refusal: null }
  }
  return {
    idPrefix: 'chatcmpl-',
    object: 'chat.completion',
    chunkObject: 'chat.completion.chunk',
    begin: () => ({ delta: { role: 'assistant', content: '', refusal: null }, logprobs: null }),
    piece: (_, { text, tokens }) => ({ delta: { content: text }, logprobs: logprobs(tokens) }),
    last: () => ({ delta: {}, logprobs: null }),
    whole: (_, __, { text, tokens }) => ({
      message: { role: 'assistant', content: text, refusal: null },
      logprobs: logprobs(tokens),
    }),
  }
}

/** The text of a token; bytes that are no whole characters are written as OpenAI does: `bytes:\xe2\x80`. */
function tokenText(id: number, tokenizer: Tokenizer): string {
  const bytes = tokenizer.bytes(id)
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return `bytes:${Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')}`
  }
}

/** The experts of the tokens of a text, as clients get them. */
export function routingOf({ ids, routers }: TextRoutes, prompt: Prompt, tokenizer: Tokenizer) {
  const stream = tokenizer.stream()
  const tokens = ids.map((id) => stream.push(id))
  if (tokens.length > 0) tokens[tokens.length - 1] += stream.end()
  return { tokens, prompt_tokens: prompt.ids.length, routers }
}
