/**
 * Converts text to token ids and back.
 *
 * Tokens are defined by tokenizer.json alone, so the file that a run saves works in any tool that reads the format. The
 * tokens around a text follow from it too, unless the files of an imported model have other rules (`text-rules.ts`).
 */
import { UsageError } from '../../../core/errors.ts'
import { nextTurn } from '../../../core/next-turn.ts'
import { byteLevelEncoder } from './bpe.ts'
import { bytesOfToken, readableBytes } from './bytelevel.ts'
import { rulesOf, type TextRules } from './text-rules.ts'
import { byteLevelJson, endOfTextId, parseTokenizerJson, type TokenizerJson, tokensOf } from './tokenizer-json.ts'

export interface Tokenizer {
  /** Ids are 0 to `vocabulary` - 1. */
  readonly vocabulary: number
  /** Id of the document separator. */
  readonly endOfText: number
  /** Which tokens begin and end a text, and how a chat is written. */
  readonly rules: TextRules
  /**
   * [vocabulary] Number of UTF-8 bytes of each token, for bits per byte; 0 for `endOfText`. The number is exact for
   * byte-level tokenizers; for others, it counts the bytes that the token adds when it follows other text.
   */
  readonly bytesOf: Int32Array
  /** The tokenizer in the format of Hugging Face's tokenizer.json. */
  readonly json: string
  /** The token with an id, as tokenizer.json has it; undefined for an id without a token. */
  tokenOf(id: number): string | undefined
  /** Encodes a text without adding special tokens. Lone surrogates become U+FFFD. */
  encode(text: string): Promise<Int32Array>
  /** Encodes many texts (of moderate length) without blocking the event loop. */
  encodeBatch(texts: readonly string[]): Promise<Int32Array[]>
  /** Decodes ids. Ids without a token are skipped; invalid UTF-8 becomes U+FFFD. */
  decode(ids: ArrayLike<number>): string
  /**
   * One token in readable form: its text with any leading space, control characters escaped as in JSON, and bytes that
   * are not a whole character as `<0xE2>`. The form is empty for an id without a token.
   */
  show(id: number): string
  /**
   * The UTF-8 bytes that a token adds after other text, which may begin or end inside of a character; empty for an id
   * without a token.
   */
  bytes(id: number): Uint8Array
  /** Decodes id by id. The joined parts equal `decode` of all ids; no part ends inside a character. */
  stream(): DecodeStream
}

export interface DecodeStream {
  push(id: number): string
  end(): string
}

/** A library for tokenizers of any form. */
export interface NativeTokenizer {
  encode(text: string): Promise<Int32Array>
  /** Runs on all cores, off the JavaScript thread. */
  encodeBatch(texts: readonly string[]): Promise<Int32Array[]>
  /** Decodes a sequence of tokens. */
  decodeTokens(tokens: string[]): string
}

/** One token per byte (ids 0 to 255) and the end of text (256). */
export function bytesTokenizer(): Tokenizer {
  return byteLevelTokenizer(byteLevelJson([]))
}

/**
 * A tokenizer of GPT-2's form, as Choir makes them, which needs no library.
 * @throws UsageError as {@link createTokenizer}
 */
export const byteLevelTokenizer = (json: string, where = 'tokenizer.json'): Tokenizer =>
  createTokenizer(json, where, () => {
    throw new UsageError(`${where} is not a byte-level BPE, the only form of tokenizers that runs in a browser`)
  })

/**
 * @param where names the file in messages
 * @param openLibrary Opens the library that handles tokenizers of other forms than GPT-2's.
 * @param given Rules for texts; default: the rules of the tokenizer.json.
 * @throws UsageError if it is not a tokenizer.json, has no end-of-text token, or lacks the token before a text
 */
export function createTokenizer(
  json: string,
  where: string,
  openLibrary: (json: string, where: string) => NativeTokenizer,
  given?: TextRules,
): Tokenizer {
  const parsed = parseTokenizerJson(json, where)
  const tokens = tokensOf(parsed, where)
  const endOfText = endOfTextId(tokens, where)
  const rules = given ?? rulesOf(parsed, endOfText)
  let vocabulary = 0
  for (const id of tokens.values()) vocabulary = Math.max(vocabulary, id + 1)
  const tokenOf = new Array<string | undefined>(vocabulary)
  for (const [token, id] of tokens) tokenOf[id] = token
  if (rules.begin !== null && tokenOf[rules.begin] === undefined)
    throw new UsageError(`${where} puts token ${rules.begin} before a text, which its vocabulary does not have`)

  const encodeByteLevel = byteLevelEncoder(parsed, where)
  let native: NativeTokenizer | undefined
  const library = (): NativeTokenizer => {
    native ??= openLibrary(json, where)
    return native
  }
  if (!encodeByteLevel) library()
  const decoding = hasByteLevelDecoder(parsed) ? byteLevelDecoding(tokenOf) : nativeDecoding(tokenOf, library())
  const bytesOf = Int32Array.from({ length: vocabulary }, (_, id) => (id === endOfText ? 0 : decoding.length(id)))
  return {
    vocabulary,
    endOfText,
    rules,
    bytesOf,
    json,
    tokenOf: (id) => tokenOf[id],
    encode: async (text) => encodeByteLevel?.(text) ?? library().encode(text),
    encodeBatch: encodeByteLevel ? (texts) => inTurns(texts, encodeByteLevel) : (texts) => library().encodeBatch(texts),
    decode: decoding.decode,
    show: decoding.show,
    bytes: decoding.bytes,
    stream: decoding.stream,
  }
}

interface Decoding {
  /** Number of {@link bytes}. */
  length(id: number): number
  bytes(id: number): Uint8Array
  decode(ids: ArrayLike<number>): string
  show(id: number): string
  stream(): DecodeStream
}

function hasByteLevelDecoder({ decoder }: TokenizerJson): boolean {
  const only = decoder?.type === 'Sequence' && decoder.decoders?.length === 1 ? decoder.decoders[0] : decoder
  return only?.type === 'ByteLevel'
}

/** Concatenates the bytes of the tokens and decodes them as UTF-8. */
function byteLevelDecoding(tokenOf: readonly (string | undefined)[]): Decoding {
  const none = new Uint8Array()
  const bytesOf = tokenOf.map((token) => (token === undefined ? none : bytesOfToken(token)))
  const decoder = () => new TextDecoder('utf-8', { ignoreBOM: true })
  return {
    length: (id) => (bytesOf[id] ?? none).length,
    bytes: (id) => bytesOf[id] ?? none,
    decode: (ids) => decoder().decode(concatenated(Array.from(ids, (id) => bytesOf[id] ?? none))),
    show: (id) => escapeControls(readableBytes(bytesOf[id] ?? none)),
    stream() {
      const utf8 = decoder()
      return {
        push: (id) => utf8.decode(bytesOf[id] ?? none, { stream: true }),
        end: () => utf8.decode(),
      }
    },
  }
}

/** Uses the library's decoder, whose output for a token may depend on its neighbours (spaces, byte fallback). */
function nativeDecoding(tokenOf: readonly (string | undefined)[], native: NativeTokenizer): Decoding {
  const decode = (ids: ArrayLike<number>): string =>
    native.decodeTokens(Array.from(ids, (id) => tokenOf[id]).filter((token) => token !== undefined))
  const isByte = (token: string) => /^<0x[0-9A-F]{2}>$/.test(token)
  // The first token may lose its leading space: take the text that a second one adds.
  const textOf = (id: number) => decode([id, id]).slice(decode([id]).length)
  return {
    length(id) {
      if (tokenOf[id] === undefined) return 0
      if (isByte(tokenOf[id] ?? '')) return 1
      return Math.max(0, utf8Length(decode([id, id])) - utf8Length(decode([id])))
    },
    bytes(id) {
      const token = tokenOf[id] ?? ''
      return isByte(token) ? Uint8Array.of(Number(token.slice(1, -1))) : new TextEncoder().encode(textOf(id))
    },
    decode,
    show(id) {
      const token = tokenOf[id] ?? ''
      return isByte(token) ? token : escapeControls(textOf(id))
    },
    stream() {
      // Decode a short window of the latest ids; the text after its settled part is new. The window begins where the text
      // was complete, since a character may have several tokens, one for each byte.
      let window: number[] = []
      let settled = ''
      let complete: number[] = []
      return {
        push(id) {
          window.push(id)
          const text = decode(window)
          if (text.endsWith('\ufffd') && window.length < 32) return ''
          const added = text.slice(settled.length)
          complete.push(window.length)
          const from = complete.findLast((length) => length <= window.length - 8) ?? 0
          window = window.slice(from)
          complete = complete.filter((length) => length > from).map((length) => length - from)
          settled = decode(window)
          return added
        },
        end: () => decode(window).slice(settled.length),
      }
    },
  }
}

function concatenated(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

const utf8Length = (text: string): number => new TextEncoder().encode(text).length

/** Escapes control characters: a line break in a token would break a table of tokens. */
const escapeControls = (text: string): string =>
  text.replace(/\p{Cc}/gu, (control) =>
    control < ' ' ? JSON.stringify(control).slice(1, -1) : `\\u00${control.charCodeAt(0).toString(16)}`,
  )

/** Encodes the texts, and yields to the event loop after every 10 ms of work. */
async function inTurns(texts: readonly string[], encode: (text: string) => Int32Array): Promise<Int32Array[]> {
  const all: Int32Array[] = []
  let since = performance.now()
  for (const text of texts) {
    all.push(encode(text))
    if (performance.now() - since > 10) {
      await nextTurn()
      since = performance.now()
    }
  }
  return all
}
