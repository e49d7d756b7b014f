/** A text that is being written together with others: each turn computes one token. */
import type { Tokenizer } from '../../../train/data/tokenizer/tokenizer.ts'
import { keptOf } from '../continue-text.ts'
import { CollectedRoutes } from '../generation/collected-routes.ts'
import type { Contexts, TextInContext } from '../generation/contexts.ts'
import { TextState } from '../generation/text-state.ts'
import { WrittenText } from '../written-text.ts'
import type { Answer } from './answer.ts'
import type { TextRequest, WrittenToken } from './contract.ts'
import { type RatedToken, rate } from './token-probabilities.ts'

export class RunningText {
  readonly answer: Answer
  /** Number of tokens that were computed after the prompt. */
  computed = 0
  /** Number of tokens of contexts that were computed. */
  read = 0
  /** Number of tokens of contexts that were known and not computed. */
  reused = 0
  private reusedOfPrompt = 0
  private readonly index: number
  private readonly request: TextRequest
  private readonly tokenizer: Tokenizer
  private readonly contexts: Contexts
  private readonly state: TextState
  private readonly text: WrittenText
  private readonly routes: CollectedRoutes | undefined
  private readonly ids: number[]
  /** Tokens of the prompt that have been rated. */
  private readonly ratedPrompt: RatedToken[] = []
  /** Rated tokens whose characters may still belong to a stop text. */
  private held: WrittenToken[] = []
  private step: 'prompt' | 'text' | 'last token' | 'over' = 'prompt'

  /** @param index Index of the text in its request. */
  constructor(contexts: Contexts, tokenizer: Tokenizer, request: TextRequest, answer: Answer, index: number) {
    const { prompt, tokens, seed, stop, schema, routes } = request
    this.answer = answer
    this.index = index
    this.request = request
    this.tokenizer = tokenizer
    this.contexts = contexts
    const { vocabulary } = tokenizer
    const kept = keptOf(tokenizer, prompt)
    const schemaText = schema?.begin() ?? null
    this.state = new TextState(contexts.config, {
      ...{ prompt, vocabulary, sampling: request, seed, kept, schemaText },
      most: tokens,
    })
    this.text = new WrittenText(tokenizer, tokens, stop, schemaText)
    this.routes = routes ? new CollectedRoutes() : undefined
    this.ids = routes ? [...prompt] : []
  }

  get prompt(): readonly number[] {
    return this.request.prompt
  }

  /** Whether there is nothing more to compute. */
  get isOver(): boolean {
    return this.step === 'over' || this.answer.isOver
  }

  /** Whether the next turn reads many tokens. */
  get readsContext(): boolean {
    return this.state.pending.kind === 'context'
  }

  /** Whether the next turn can read its tokens in a context, which no other text uses. */
  canRead(context: number): boolean {
    const { contexts, state, request, routes } = this
    return contexts.canRead(context, state, routes !== undefined || request.ratesPrompt)
  }

  /** What the next turn computes in a context, which no other text uses, if it does not read a context. */
  inContext(context: number): TextInContext {
    return { context, text: this.state, routes: this.routes }
  }

  /** Computes the next token, or reads a part of what comes before it, in a context that no other text uses. */
  async advance(context: number): Promise<void> {
    const { request, routes, contexts, state } = this
    if (request.tokens === 0 && !request.ratesPrompt && !routes) return this.end()
    const isPrompt = this.step === 'prompt'
    const { vocabulary } = this.tokenizer
    const ratePrompt = (position: number, logits: Float32Array) =>
      this.ratedPrompt.push(rate(logits, vocabulary, request.prompt[position + 1] as number, request.top ?? 0))
    const onLogits = isPrompt && request.ratesPrompt ? ratePrompt : undefined
    const onReused = (tokens: number) => {
      this.reused += tokens
      if (isPrompt) this.reusedOfPrompt = tokens
    }
    const onRead = (tokens: number) => {
      this.read += tokens
    }
    const logits = await contexts.computePart(context, state, { routes, onLogits, onReused, onRead })
    if (!logits) return
    if (onLogits) this.answer.push({ kind: 'prompt', index: this.index, tokens: this.ratedPrompt.splice(0) })
    this.take(logits)
  }

  /** Takes what a turn has computed: the logits [V] for the next token. */
  take(logits: Float32Array): void {
    if (this.step === 'last token' || this.request.tokens === 0) {
      this.end()
      return
    }
    this.step = 'text'
    this.write(logits)
  }

  private write(logits: Float32Array): void {
    const { text, request, tokenizer } = this
    const offset = text.decoded
    // Sampling does not change the logits, but the next computation does.
    const token = this.state.next(logits)
    this.computed++
    if (request.top !== null) this.held.push({ ...rate(logits, tokenizer.vocabulary, token, request.top), offset })
    const isEnd = text.ends(token)
    let piece = text.add(token)
    if (this.routes && !isEnd) this.ids.push(token)
    if (text.reason !== null) piece += text.rest()
    const tokens = this.complete()
    if (piece !== '' || tokens.length > 0) this.answer.push({ kind: 'piece', index: this.index, text: piece, tokens })
    if (text.reason === null) return
    // The experts of the last token are known when it has been read.
    if (this.routes && !isEnd) this.step = 'last token'
    else this.end()
  }

  /** The rated tokens whose characters have been returned. A stop text and its tokens are left out. */
  private complete(): WrittenToken[] {
    const { text, held } = this
    if (text.reason !== null) {
      const tokens = text.reason === 'stop' ? held.filter(({ offset }) => offset < text.returned) : held
      this.held = []
      return tokens
    }
    // A token ends where the next one begins.
    const ends = held.map((_, i) => held[i + 1]?.offset ?? text.decoded)
    const open = ends.findIndex((end) => end > text.returned)
    return held.splice(0, open < 0 ? held.length : open)
  }

  private end(): void {
    const { routes, ids, computed, index } = this
    this.step = 'over'
    this.answer.push({
      kind: 'end',
      index,
      reason: this.text.reason ?? 'length',
      tokens: computed,
      reused: this.reusedOfPrompt,
      routes: routes ? { ids, routers: routes.routers } : null,
    })
  }
}
