/**
 * Byte-level BPE encoding in JavaScript, for tokenizers of GPT-2's form (ours and most others).
 *
 * A regular expression cuts text into words; the bytes of a word are merged, lowest rank first. Words
 * repeat, so their ids are cached. The Hugging Face library gives the same ids (checked by tests), but
 * only asynchronously and, through its Node binding, several times slower.
 */
import { formatValue } from '../../../core/config/problems.ts'
import { UsageError } from '../../../core/errors.ts'
import { byteCharacters } from './bytelevel.ts'
import type { TokenizerJson } from './tokenizer-json.ts'
import { eachWord, ownString } from './words.ts'

const utf8 = new TextEncoder()

/** Number of words at which the cache is cleared, and maximum length of a cached word in UTF-16 units. */
const MAX_CACHED_WORDS = 1 << 17
const MAX_CACHED_LENGTH = 48

export type Encode = (text: string) => Int32Array

/**
 * An encoder for this tokenizer.json; undefined if the form of the tokenizer is not supported.
 * @param where names the file in messages
 * @throws UsageError if the merges do not fit the vocabulary
 */
export function byteLevelEncoder(json: TokenizerJson, where: string): Encode | undefined {
  const { model, pre_tokenizer: pre, normalizer, added_tokens: added } = json
  if (normalizer || pre?.type !== 'ByteLevel' || pre.add_prefix_space !== false || pre.use_regex === false) return
  if (model.type !== 'BPE' || !model.merges || !model.vocab || Array.isArray(model.vocab)) return
  if (model.dropout || model.ignore_merges || model.byte_fallback) return
  if (model.continuing_subword_prefix || model.end_of_word_suffix) return
  if (added.some((token) => token.lstrip || token.rstrip || token.single_word)) return
  const vocabulary = new Map(Object.entries(model.vocab))
  const byteIds = byteCharacters.map((character) => vocabulary.get(character))
  if (byteIds.includes(undefined)) return
  const merges = new Merges(vocabulary, model.merges, where)
  const words = new WordEncoder(byteIds as number[], merges)
  return withAddedTokens(added, (text, into) => words.encode(text, into))
}

/** Splits a text at added tokens (the longest match wins), which are encoded as themselves. */
function withAddedTokens(added: TokenizerJson['added_tokens'], encode: (text: string, into: Ids) => void): Encode {
  const tokens = new AddedTokens(added)
  return (text) => {
    const ids = new Ids(Math.max(16, text.length >> 1))
    let from = 0
    for (let found = tokens.next(text, 0); found; found = tokens.next(text, from)) {
      encode(text.slice(from, found.start), ids)
      ids.push(found.id)
      from = found.end
    }
    encode(from === 0 ? text : text.slice(from), ids)
    return ids.take()
  }
}

interface Node {
  readonly next: Map<string, Node>
  id?: number
}

/**
 * Finds added tokens with a tree of their characters: a file may have very many tokens, and a regular expression would
 * try them one by one.
 */
class AddedTokens {
  private readonly root: Node = { next: new Map() }
  /** Matches the first character of any added token; undefined without added tokens. */
  private readonly first: RegExp | undefined

  constructor(added: TokenizerJson['added_tokens']) {
    for (const { content, id } of added) {
      let node = this.root
      for (const character of content) {
        const next: Node = node.next.get(character) ?? { next: new Map() }
        node.next.set(character, next)
        node = next
      }
      node.id = id
    }
    const characters = [...this.root.next.keys()].map((character) => character.replace(/[\\\]^-]/g, '\\$&'))
    if (characters.length > 0) this.first = new RegExp(`[${characters.join('')}]`, 'gu')
  }

  /** The first added token in the text from `from` on, the longest if several start there. */
  next(text: string, from: number): { readonly start: number; readonly end: number; readonly id: number } | undefined {
    if (!this.first) return undefined
    for (let at = from; ; ) {
      this.first.lastIndex = at
      const start = this.first.exec(text)?.index
      if (start === undefined) return undefined
      let found: { end: number; id: number } | undefined
      let node: Node | undefined = this.root
      for (let end = start; node; ) {
        if (node.id !== undefined) found = { end, id: node.id }
        const character = String.fromCodePoint(text.codePointAt(end) ?? 0)
        node = end < text.length ? node.next.get(character) : undefined
        end += character.length
      }
      if (found) return { start, ...found }
      at = start + String.fromCodePoint(text.codePointAt(start) as number).length
    }
  }
}

/** A growing list of ids. */
class Ids {
  private ids: Int32Array
  private length = 0

  constructor(capacity: number) {
    this.ids = new Int32Array(capacity)
  }

  push(id: number): void {
    if (this.length === this.ids.length) this.grow(1)
    this.ids[this.length++] = id
  }

  append(ids: Int32Array): void {
    if (this.length + ids.length > this.ids.length) this.grow(ids.length)
    if (ids.length < 8) for (let i = 0; i < ids.length; i++) this.ids[this.length + i] = ids[i] as number
    else this.ids.set(ids, this.length)
    this.length += ids.length
  }

  take(): Int32Array {
    return this.ids.slice(0, this.length)
  }

  private grow(extra: number): void {
    const larger = new Int32Array(2 * this.ids.length + extra)
    larger.set(this.ids)
    this.ids = larger
  }
}

class WordEncoder {
  private readonly byteIds: readonly number[]
  private readonly merges: Merges
  private readonly cached = new Map<string, Int32Array>()

  constructor(byteIds: readonly number[], merges: Merges) {
    this.byteIds = byteIds
    this.merges = merges
  }

  encode(text: string, into: Ids): void {
    eachWord(text, (word) => {
      let ids = this.cached.get(word)
      if (!ids) {
        ids = this.merges.apply(Int32Array.from(utf8.encode(word), (byte) => this.byteIds[byte] as number))
        if (word.length <= MAX_CACHED_LENGTH) {
          if (this.cached.size >= MAX_CACHED_WORDS) this.cached.clear()
          this.cached.set(ownString(word), ids)
        }
      }
      into.append(ids)
    })
  }
}

/** Looks up merges by pair and applies them to the symbols of a word. */
class Merges {
  /** The rank of each pair; the key of a pair is left · size + right. */
  private readonly rankOf = new Map<number, number>()
  private readonly merged: Int32Array
  private readonly size: number

  constructor(
    vocabulary: ReadonlyMap<string, number>,
    merges: NonNullable<TokenizerJson['model']['merges']>,
    where: string,
  ) {
    // The ids are not arguments of one Math.max, because the stack has no room for a large vocabulary.
    this.size = 1 + [...vocabulary.values()].reduce((largest, id) => Math.max(largest, id), 0)
    this.merged = new Int32Array(merges.length)
    merges.forEach((merge, rank) => {
      const [left, right] = pairOf(merge) ?? []
      if (left === undefined || right === undefined)
        throw new UsageError(`${where}: merge ${rank} is ${formatValue(merge)} (expected two tokens)`)
      const ids = [left, right, left + right].map((token) => vocabulary.get(token))
      if (ids.includes(undefined))
        throw new UsageError(`${where}: merge ${rank} (${left} ${right}) is not in its vocabulary`)
      this.rankOf.set((ids[0] as number) * this.size + (ids[1] as number), rank)
      this.merged[rank] = ids[2] as number
    })
  }

  /**
   * Merges the pair of lowest rank, leftmost first, until no pair can be merged; works in place. A linked
   * list and a heap of candidate pairs make it O(n log n) for n bytes: words without spaces can be long.
   */
  apply(symbols: Int32Array): Int32Array {
    const length = symbols.length
    if (length < 2) return symbols
    const next = Int32Array.from({ length }, (_, i) => i + 1)
    const previous = Int32Array.from({ length }, (_, i) => i - 1)
    const heap = new Heap()
    const rankAt = (i: number): number | undefined => {
      const j = next[i] as number
      return j < length ? this.rankOf.get((symbols[i] as number) * this.size + (symbols[j] as number)) : undefined
    }
    const pushPair = (i: number): void => {
      const rank = rankAt(i)
      if (rank !== undefined) heap.push(rank * 0x100000000 + i)
    }
    for (let i = 0; i < length - 1; i++) pushPair(i)
    for (let entry = heap.pop(); entry !== undefined; entry = heap.pop()) {
      const i = entry % 0x100000000
      const rank = Math.floor(entry / 0x100000000)
      // Skip entries that are stale because a neighbour was merged; -1 marks a merged symbol.
      if (symbols[i] === -1 || rankAt(i) !== rank) continue
      const j = next[i] as number
      symbols[i] = this.merged[rank] as number
      symbols[j] = -1
      const after = next[j] as number
      next[i] = after
      if (after < length) previous[after] = i
      if ((previous[i] as number) >= 0) pushPair(previous[i] as number)
      pushPair(i)
    }
    return symbols.filter((symbol) => symbol !== -1)
  }
}

/** The two tokens of a merge, which is a pair or, in older files, a text `left right`; null if it is neither. */
function pairOf(merge: unknown): string[] | null {
  const pair: unknown = typeof merge === 'string' ? merge.split(' ') : merge
  return Array.isArray(pair) && pair.length === 2 && pair.every((token) => typeof token === 'string') ? pair : null
}

/** A binary min-heap of numbers. */
class Heap {
  private readonly items: number[] = []

  push(item: number): void {
    const items = this.items
    let at = items.push(item) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if ((items[parent] as number) <= item) break
      items[at] = items[parent] as number
      at = parent
    }
    items[at] = item
  }

  pop(): number | undefined {
    const items = this.items
    const top = items[0]
    const last = items.pop()
    if (top === undefined || last === undefined || items.length === 0) return top
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= items.length) break
      if (child + 1 < items.length && (items[child + 1] as number) < (items[child] as number)) child++
      if ((items[child] as number) >= last) break
      items[at] = items[child] as number
      at = child
    }
    items[at] = last
    return top
  }
}
