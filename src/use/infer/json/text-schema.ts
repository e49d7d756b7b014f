/**
 * Texts that are written by a schema. Before a token is sampled, the tokens are found with which the text can still become
 * a valid value; all others are left out.
 */

import type { Tokenizer } from '../../../train/data/tokenizer/tokenizer.ts'
import { Recognizer, type State } from './recognizer.ts'
import { grammarOf } from './schema.ts'
import { Vocabulary } from './vocabulary.ts'

/** Number of states for which token ids are kept, and number of ids in all. */
const MAX_STATES = 5000
const MAX_IDS = 2 ** 22

const vocabularies = new WeakMap<Tokenizer, Vocabulary>()

/** A schema for the texts of a model. Its texts share what is found out about states. */
export class TextSchema {
  private readonly tokenizer: Tokenizer
  private readonly recognizer: Recognizer
  private readonly vocabulary: Vocabulary
  private readonly known = new Map<State, Int32Array>()
  private kept = 0

  /**
   * @param schema A JSON Schema.
   * @param subject Names the schema in messages.
   * @throws SchemaError if the schema is wrong or has a keyword that is not supported; UsageError if it is nested too
   * deep, or the tokens of the model are not suited
   */
  constructor(schema: unknown, subject: string, tokenizer: Tokenizer) {
    this.tokenizer = tokenizer
    this.recognizer = new Recognizer(grammarOf(schema, subject))
    this.vocabulary = vocabularies.get(tokenizer) ?? new Vocabulary(tokenizer)
    vocabularies.set(tokenizer, this.vocabulary)
  }

  /** Begins a text. */
  begin(): SchemaText {
    const { recognizer, tokenizer } = this
    let state = recognizer.start
    return {
      get isOver() {
        return recognizer.isOver(state)
      },
      allowed: () => this.allowedIn(state),
      add(token) {
        if (tokenizer.rules.end.includes(token)) return
        for (const byte of tokenizer.bytes(token)) state = recognizer.next(state, byte) as State
      },
    }
  }

  private allowedIn(state: State): Int32Array {
    const known = this.known.get(state)
    if (known) return known
    const allowed = this.vocabulary.allowed(this.recognizer, state)
    if (this.known.size >= MAX_STATES || this.kept + allowed.length > MAX_IDS) {
      this.known.clear()
      this.kept = 0
    }
    this.known.set(state, allowed)
    this.kept += allowed.length
    return allowed
  }
}

/** A text that is being written. */
export interface SchemaText {
  /** Whether the value is complete, and nothing can follow it. */
  readonly isOver: boolean
  /** The ids that may come next, in ascending order, end tokens among them if the value is complete. */
  allowed(): Int32Array
  /** Adds a token that may come. */
  add(token: number): void
}
