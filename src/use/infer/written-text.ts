/** A text that is written token by token: its characters, and whether a token ends it. */
import type { Tokenizer } from '../../train/data/tokenizer/tokenizer.ts'
import type { SchemaText } from './json/text-schema.ts'
import { StopScanner } from './stop-scanner.ts'

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
