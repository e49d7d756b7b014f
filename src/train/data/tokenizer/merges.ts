/**
 * Learns the merges of a byte-level BPE from counted words (Sennrich, Haddow and Birch 2016, algorithm 1): the most
 * frequent pair of neighbours becomes a token, again and again.
 *
 * The merges equal the merges of Hugging Face's trainer, so its rules break ties. Among pairs with equal counts, the
 * pair with the smaller ids goes first: bytes that occur have ids in the order of their characters, new tokens follow.
 * A queue entry has the words in which its pair came up, and a count that may be out of date, which is corrected when
 * the entry is at the top. A pair gets a second entry if its token has been made from other parts before ("a" + "bc"
 * after "ab" + "c"); both are merged, each in its own words.
 */
import { Turns } from '../../../core/next-turn.ts'
import { byteCharacters } from './bytelevel.ts'

/** Left and right part of each merge, in the byte-level alphabet. */
export type Merge = readonly [left: string, right: string]

/** A number above all ids. A pair is stored as one number, left · ID_LIMIT + right. */
const ID_LIMIT = 2 ** 26

/**
 * @param words Words with the number of their occurrences.
 * @param tokens Maximum number of new tokens. Fewer are made if the text has no more pairs.
 * @param onTurn Called about every 10 ms with the number of tokens made so far.
 */
export async function learnMerges(
  words: ReadonlyMap<string, number>,
  tokens: number,
  signal?: AbortSignal,
  onTurn: (made: number) => void = () => {},
): Promise<Merge[]> {
  let made = 0
  const turns = new Turns(signal, () => onTurn(made))
  const corpus = await SplitWords.of(words, turns)
  const { parts } = corpus
  const idOf = new Map(parts.map((part, id) => [part, id]))
  const alphabet = parts.length
  const merges: Merge[] = []
  const merged = new Set<number>()
  for (let top = corpus.next(); top; top = corpus.next()) {
    const [left, right] = [parts[top.left] as string, parts[top.right] as string]
    const known = idOf.get(left + right)
    if (known === undefined && made === tokens) break
    const id = known ?? parts.push(left + right) - 1
    made = parts.length - alphabet
    idOf.set(left + right, id)
    if (!merged.has(keyOf(top.left, top.right))) merges.push([left, right])
    merged.add(keyOf(top.left, top.right))
    await corpus.merge(top, id, turns)
  }
  return merges
}

const keyOf = (left: number, right: number): number => left * ID_LIMIT + right

/** A pair, its count when it was entered, and the words in which it came up. */
interface Entry {
  count: number
  readonly left: number
  readonly right: number
  readonly words: readonly number[]
}

/** The words as sequences of ids, with the counts of their pairs. */
class SplitWords {
  /** Text of each id. */
  readonly parts: string[]
  private readonly ids: Int32Array
  /** Where the ids of each word begin, how many ids it has, and how often it occurs. */
  private readonly starts: Int32Array
  private readonly lengths: Int32Array
  private readonly occurrences: Float64Array
  private readonly counts = new Map<number, number>()
  /** The words in which each pair came up since the pair was last entered in the queue. */
  private readonly found = new Map<number, number[]>()
  private readonly queue = new Queue()

  private constructor(parts: string[], occurrences: Float64Array, lengths: Int32Array) {
    this.parts = parts
    this.occurrences = occurrences
    this.lengths = lengths
    this.starts = new Int32Array(lengths.length)
    this.ids = new Int32Array(lengths.reduce((sum, length) => sum + length, 0))
  }

  static async of(words: ReadonlyMap<string, number>, turns: Turns): Promise<SplitWords> {
    const utf8 = new TextEncoder()
    const bytes: Uint8Array[] = []
    const used = new Uint8Array(256)
    for (const word of words.keys()) {
      const encoded = utf8.encode(word)
      bytes.push(encoded)
      for (const byte of encoded) used[byte] = 1
      if (turns.isDue) await turns.take()
    }
    const alphabet = byteCharacters.flatMap((character, byte) => (used[byte] ? [{ character, byte }] : []))
    alphabet.sort((a, b) => a.character.charCodeAt(0) - b.character.charCodeAt(0))
    const idOfByte = new Int32Array(256)
    for (const [id, { byte }] of alphabet.entries()) idOfByte[byte] = id
    const split = new SplitWords(
      alphabet.map(({ character }) => character),
      Float64Array.from(words.values()),
      Int32Array.from(bytes, ({ length }) => length),
    )
    let at = 0
    for (const [w, word] of bytes.entries()) {
      at = split.add(w, word, at, idOfByte)
      if (turns.isDue) await turns.take()
    }
    await split.enterFound(turns)
    return split
  }

  /** @param at Where the ids of the word begin. Returns where they end. */
  private add(w: number, word: Uint8Array, at: number, idOfByte: Int32Array): number {
    this.starts[w] = at
    let end = at
    for (const byte of word) this.ids[end++] = idOfByte[byte] as number
    for (let i = at; i + 1 < end; i++) this.change(w, this.ids[i] as number, this.ids[i + 1] as number, 1)
    return end
  }

  /** Takes the most frequent pair from the queue; undefined if no pair is left. */
  next(): Entry | undefined {
    for (let top = this.queue.pop(); top; top = this.queue.pop()) {
      const count = this.counts.get(keyOf(top.left, top.right)) as number
      if (top.count === count) return count > 0 ? top : undefined
      top.count = count
      this.queue.push(top)
    }
    return undefined
  }

  /** Replaces the pair by an id in the words of its entry. */
  async merge({ left, right, words }: Entry, id: number, turns: Turns): Promise<void> {
    const { ids, lengths } = this
    for (const w of words) {
      if (turns.isDue) await turns.take()
      const start = this.starts[w] as number
      const end = start + (lengths[w] as number)
      let to = start
      for (let from = start; from < end; from++, to++) {
        const isPair = ids[from] === left && from + 1 < end && ids[from + 1] === right
        if (!isPair) {
          ids[to] = ids[from] as number
          continue
        }
        // The neighbours are used as they are now: the id before may be a merged pair already, the id after is not yet.
        if (to > start) {
          const before = ids[to - 1] as number
          this.change(w, before, left, -1)
          this.change(w, before, id, 1)
        }
        ids[to] = id
        from++
        if (from + 1 < end) {
          const after = ids[from + 1] as number
          this.change(w, right, after, -1)
          this.change(w, id, after, 1)
        }
      }
      lengths[w] = to - start
    }
    await this.enterFound(turns)
  }

  private change(word: number, left: number, right: number, by: 1 | -1): void {
    const key = keyOf(left, right)
    this.counts.set(key, (this.counts.get(key) ?? 0) + by * (this.occurrences[word] as number))
    if (by < 0) return
    const words = this.found.get(key)
    if (!words) this.found.set(key, [word])
    else if (words.at(-1) !== word) words.push(word)
  }

  private async enterFound(turns: Turns): Promise<void> {
    for (const [key, words] of this.found) {
      if (turns.isDue) await turns.take()
      const count = this.counts.get(key) as number
      const left = Math.floor(key / ID_LIMIT)
      if (count > 0) this.queue.push({ count, left, right: key % ID_LIMIT, words })
    }
    this.found.clear()
  }
}

/** Whether an entry goes before another. */
const goesBefore = (a: Entry, b: Entry): boolean =>
  a.count !== b.count ? a.count > b.count : a.left !== b.left ? a.left < b.left : a.right < b.right

/** A binary heap of entries. */
class Queue {
  private readonly entries: Entry[] = []

  push(entry: Entry): void {
    const { entries } = this
    let at = entries.push(entry) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!goesBefore(entry, entries[parent] as Entry)) break
      entries[at] = entries[parent] as Entry
      at = parent
    }
    entries[at] = entry
  }

  pop(): Entry | undefined {
    const { entries } = this
    const [top] = entries
    const last = entries.pop()
    if (!top || !last || entries.length === 0) return top
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= entries.length) break
      if (child + 1 < entries.length && goesBefore(entries[child + 1] as Entry, entries[child] as Entry)) child++
      if (!goesBefore(entries[child] as Entry, last)) break
      entries[at] = entries[child] as Entry
      at = child
    }
    entries[at] = last
    return top
  }
}
