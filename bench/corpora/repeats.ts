/**
 * Finds text that occurred before: whole documents, documents most of whose paragraphs were in earlier documents, and
 * paragraphs that many documents share, such as licence headers and notices. All decisions look only at earlier
 * documents, so one pass in a fixed order gives the same result on every machine.
 */
import { createHash } from 'node:crypto'

/** A paragraph that this many documents had already is left out of later documents. */
const MAX_COPIES = 4

/** A document is a copy of others if more than this share of its paragraphs, by length, is known. */
const COPIED_SHARE = 0.5

/** Paragraphs shorter than this (in characters) do not make a document a copy. */
const COMPARED_LENGTH = 40

/** Number of counters of 8 bits in each of two rows, which together take 64 MiB. */
const COUNTERS = 1 << 25

/** The text of a document that is new, or the reason why the document is left out. */
export type Distinct =
  | {
      /** The text without repeated paragraphs. */
      readonly text: string
      /** Whether paragraphs are missing in it. */
      readonly isCut: boolean
    }
  | { readonly text?: undefined; readonly reason: 'duplicate' | 'copied' }

export class Repeats {
  private readonly documents = new Set<string>()
  /** A count-min sketch: the smaller of a paragraph's two counters is at least the number of documents that have it. */
  private readonly rows = [new Uint8Array(COUNTERS), new Uint8Array(COUNTERS)] as const

  /** @param shortest length in characters of the shortest paragraph that is left out if many documents have it */
  distinct(text: string, shortest: number): Distinct {
    const id = createHash('sha256').update(text).digest('base64').slice(0, 24)
    if (this.documents.has(id)) return { reason: 'duplicate' }
    const blocks = paragraphs(text).map((block) => {
      const key = block.text.replace(/[^\p{L}\p{N}]+/gu, ' ').trim()
      const at = key.length >= COMPARED_LENGTH ? places(key) : undefined
      return { ...block, length: key.length, at, copies: at ? this.count(at) : 0 }
    })
    const compared = blocks.filter(({ at }) => at !== undefined)
    const total = compared.reduce((sum, { length }) => sum + length, 0)
    const known = compared.reduce((sum, { length, copies }) => sum + (copies > 0 ? length : 0), 0)
    if (total > 0 && known > COPIED_SHARE * total) return { reason: 'copied' }
    this.documents.add(id)
    // A paragraph that a document repeats counts once.
    const seen = new Set<string>()
    for (const { at } of compared) {
      if (!at || seen.has(at.join())) continue
      seen.add(at.join())
      this.add(at)
    }
    const kept = blocks.filter(({ copies, length }) => copies < MAX_COPIES || length < shortest)
    return { text: kept.map((block) => block.text + block.gap).join(''), isCut: kept.length < blocks.length }
  }

  private count([a, b]: readonly [number, number]): number {
    return Math.min(this.rows[0][a] as number, this.rows[1][b] as number)
  }

  private add([a, b]: readonly [number, number]): void {
    const [first, second] = this.rows
    if ((first[a] as number) < 255) first[a] = (first[a] as number) + 1
    if ((second[b] as number) < 255) second[b] = (second[b] as number) + 1
  }
}

interface Block {
  readonly text: string
  /** Lines after the text without letters and digits, such as blank lines and borders of comments. */
  readonly gap: string
}

/** Splits text into paragraphs: lines with letters or digits, and the lines without them that follow. */
function paragraphs(text: string): Block[] {
  const blocks: { text: string; gap: string }[] = []
  for (const line of text.split(/(?<=\n)/)) {
    const last = blocks.at(-1)
    const isGap = !/[\p{L}\p{N}]/u.test(line)
    if (isGap && last) last.gap += line
    else if (isGap || !last || last.gap !== '') blocks.push({ text: line, gap: '' })
    else last.text += line
  }
  return blocks
}

/** Positions of a paragraph's counters, by two hashes like FNV-1a. */
function places(key: string): readonly [number, number] {
  let a = 0x811c9dc5
  let b = 0x9747b28c
  for (let i = 0; i < key.length; i++) {
    const code = key.charCodeAt(i)
    a = Math.imul(a ^ code, 0x01000193)
    b = Math.imul(b ^ code, 0x5bd1e995)
    b ^= b >>> 15
  }
  a ^= a >>> 16
  return [a & (COUNTERS - 1), b & (COUNTERS - 1)]
}
