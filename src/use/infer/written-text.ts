/** A text that is written token by token: its characters, and whether a token ends it. */
import type { Tokenizer } from '../../train/data/tokenizer/tokenizer.ts'
import type { SchemaText } from './json/text-schema.ts'

export class WrittenText {
  /** Number of tokens, with the tokens of a stop text and without the end token. */
  tokens = 0
  /**
   * Why the text has ended: `end` is an end token of the model, or the end of a value by a schema, `stop` a stop text,
   * `length` the maximum number of tokens; null: it has not.
   */
  reason: 'end' | 'stop' | 'length' | null = null
  /** Number of characters of all tokens, some of which may belong to a stop text. */
  decoded = 0
  /** Number of characters that have been returned. */
  returned = 0
  private readonly limit: number
  private readonly endTokens: ReadonlySet<number>
  private readonly schemaText: SchemaText | null
  private readonly stream: ReturnType<Tokenizer['stream']>
  private readonly scanner: StopScanner

  /**
   * @param limit Maximum number of tokens.
   * @param stops Stop texts, none of which is empty: the text ends before the first of them.
   * @param schemaText The text as it is written by a schema, which has each token before it is added.
   */
  constructor(
    { rules, stream }: Pick<Tokenizer, 'rules' | 'stream'>,
    limit: number,
    stops: readonly string[] = [],
    schemaText: SchemaText | null = null,
  ) {
    this.limit = limit
    this.endTokens = new Set(rules.end)
    this.schemaText = schemaText
    this.stream = stream()
    this.scanner = new StopScanner(stops)
  }

  /** Whether a token is an end token of the model. */
  ends(token: number): boolean {
    return this.endTokens.has(token)
  }

  /** Adds a token. Returns the characters that cannot belong to a stop text any more. */
  add(token: number): string {
    if (this.endTokens.has(token)) {
      this.reason = 'end'
      return ''
    }
    const piece = this.release(this.stream.push(token))
    this.tokens++
    if (this.reason === null && this.schemaText?.isOver) this.reason = 'end'
    if (this.reason === null && this.tokens >= this.limit) this.reason = 'length'
    return piece
  }

  /** Ends the text. Returns the characters that were held back. */
  rest(): string {
    if (this.reason === 'stop') return ''
    const piece = this.release(this.stream.end())
    const held = this.scanner.end()
    this.returned += held.length
    return piece + held
  }

  private release(text: string): string {
    this.decoded += text.length
    const piece = this.scanner.push(text)
    this.returned += piece.length
    if (this.scanner.isStopped) this.reason = 'stop'
    return piece
  }
}

/**
 * Ends a text before one of several stop texts: before the stop that is complete first, or the longest one if several
 * are complete at once. A stop may lie across pieces, so text is held back from the place where a stop may have begun.
 */
export class StopScanner {
  private readonly stops: readonly string[]
  private held = ''
  private found = false

  /** @param stops Stop texts, none of which is empty. */
  constructor(stops: readonly string[]) {
    this.stops = stops
  }

  /** Whether a stop has come; there is no text after it. */
  get isStopped(): boolean {
    return this.found
  }

  /** Adds a piece of the text. Returns the text that cannot belong to a stop any more. */
  push(piece: string): string {
    const text = this.held + piece
    const [first] = this.stops
      .map((stop) => ({ from: text.indexOf(stop), length: stop.length }))
      .filter(({ from }) => from >= 0)
      .toSorted((a, b) => a.from + a.length - (b.from + b.length) || a.from - b.from)
    this.found = first !== undefined
    const end = first ? first.from : text.length - this.undecided(text)
    this.held = this.found ? '' : text.slice(end)
    return text.slice(0, end)
  }

  /** Ends the text. Returns the text that was held back. */
  end(): string {
    return this.held
  }

  /** Length of the longest end of the text with which a stop begins. */
  private undecided(text: string): number {
    const longest = Math.max(0, ...this.stops.map((stop) => stop.length - 1))
    for (let length = Math.min(longest, text.length); length > 0; length--)
      if (this.stops.some((stop) => stop.startsWith(text.slice(-length)))) return length
    return 0
  }
}
