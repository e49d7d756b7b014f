/**
 * The tokens of a model as bytes, for finding those that may come next. Tokens are in the order of their bytes, so tokens
 * with the same beginning are neighbours, and the recognizer reads each beginning once.
 */
import { UsageError } from '../../../core/errors.ts'
import type { Tokenizer } from '../../../train/data/tokenizer/tokenizer.ts'
import { parseTokenizerJson, type TokenizerJson } from '../../../train/data/tokenizer/tokenizer-json.ts'
import type { Recognizer, State } from './recognizer.ts'

export class Vocabulary {
  /** Number of ids. */
  private readonly count: number
  private readonly ends: readonly number[]
  /** Ids of the tokens in order. */
  private readonly ids: readonly number[]
  /** The bytes of each, as characters from U+0000 to U+00FF. */
  private readonly texts: readonly string[]
  /** Number of bytes at its beginning that each shares with the one before it. */
  private readonly shared: readonly number[]

  /**
   * @throws UsageError if the bytes of a text are not those of its tokens, or there is no token for a byte, so that a
   * text might not be able to go on
   */
  constructor(tokenizer: Tokenizer) {
    const { vocabulary, rules, endOfText } = tokenizer
    const json = parseTokenizerJson(tokenizer.json, 'tokenizer.json')
    const special = json.added_tokens.filter((token) => token.special).map(({ id }) => id)
    const left = new Set([...special, ...rules.end, endOfText, rules.begin])
    const tokens = Array.from({ length: vocabulary }, (_, id) => ({ id, text: latin1(tokenizer.bytes(id)) }))
      .filter(({ id, text }) => text !== '' && !left.has(id))
      .sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : a.id - b.id))
    this.count = vocabulary
    this.ends = rules.end.filter((id) => id < vocabulary)
    this.ids = tokens.map(({ id }) => id)
    this.texts = tokens.map(({ text }) => text)
    this.shared = this.texts.map((text, i) => sharedLength(text, this.texts[i - 1] ?? ''))
    const known = new Set(this.texts)
    const missing = neededBytes.find((byte) => !known.has(String.fromCharCode(byte)))
    if (missing === undefined && isConcatenation(json)) return
    throw new UsageError(
      'output by a schema needs a tokenizer with a token for every byte, and whose texts are the bytes of their tokens; ' +
        `the tokenizer of this model ${missing === undefined ? 'changes bytes between tokens' : `has no token for the byte ${missing}`} (leave the schema out)`,
    )
  }

  /** The ids that may come after a text, in ascending order: tokens, and the end tokens if the text may end. */
  allowed(recognizer: Recognizer, state: State): Int32Array {
    const marks = new Uint8Array(this.count)
    let marked = 0
    const mark = (id: number): void => {
      marks[id] = 1
      marked++
    }
    if (recognizer.isComplete(state)) for (const id of this.ends) mark(id)
    /** The state after each number of bytes of a token. */
    const states: State[] = [state]
    for (const [i, text] of this.texts.entries()) {
      const shared = this.shared[i] as number
      // The bytes that it shares with the token before it cannot come.
      if (shared >= states.length) continue
      states.length = shared + 1
      let last: State | null = states[shared] as State
      for (let at = shared; at < text.length && last; at++) {
        last = recognizer.next(last, text.charCodeAt(at))
        if (last) states.push(last)
      }
      if (last) mark(this.ids[i] as number)
    }
    const allowed = new Int32Array(marked)
    for (let id = 0, at = 0; at < marked; id++) if (marks[id]) allowed[at++] = id
    return allowed
  }
}

/** The bytes that a text may have to go on with: printable ASCII, and the bytes within a character of UTF-8. */
const neededBytes = Array.from({ length: 256 }, (_, byte) => byte).filter(
  (byte) => (byte >= 0x20 && byte < 0x7f) || (byte >= 0x80 && byte < 0xc0),
)

const latin1 = (bytes: Uint8Array): string => String.fromCharCode(...bytes)

function sharedLength(a: string, b: string): number {
  let length = 0
  while (length < a.length && a[length] === b[length]) length++
  return length
}

/**
 * Whether a text is the bytes of its tokens, one after the other, up to a space at its beginning: a byte-level decoder,
 * or the parts of the decoders of SentencePiece.
 */
function isConcatenation({ decoder }: TokenizerJson): boolean {
  if (!decoder) return false
  const parts = decoder.type === 'Sequence' ? (decoder.decoders ?? []) : [decoder]
  if (parts.some(({ type }) => type === 'ByteLevel')) return parts.length === 1
  return parts.every(({ type, stop, pattern }) => {
    if (type === 'Strip') return stop === 0
    if (type === 'Replace') return (pattern as { String?: unknown } | undefined)?.String === '▁'
    return type === 'ByteFallback' || type === 'Fuse' || type === 'Metaspace'
  })
}
