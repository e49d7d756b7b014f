/**
 * A corpus of fewer than 20 documents is first cut into sections, which then count as documents, so that
 * some of it can be held out.
 *
 * Every document is cut after the first blank line past 8 Ki characters; if there is no blank line before 16 Ki, it is
 * cut after the first line break, otherwise before a word. For a corpus below 160 Ki characters the minimum is a
 * twentieth of it instead of 8 Ki (but at least 256 characters), so that there are enough sections.
 */
import { cutBefore, type Piece } from '../sources/piece.ts'

export const MIN_DOCUMENTS = 20
const DEFAULT_LENGTH = 8 << 10

/** Minimum length of a section for a corpus of `characters` characters. */
export function sectionLength(characters: number): number {
  return Math.max(256, Math.min(DEFAULT_LENGTH, Math.floor(characters / MIN_DOCUMENTS)))
}

/** Cuts every document into sections of `minLength` to twice `minLength` characters. */
export async function* cutSections(pieces: AsyncIterable<Piece>, minLength: number): AsyncGenerator<Piece> {
  let held = ''
  let section = 0
  for await (const piece of pieces) {
    held += piece.text
    const named = () => ({ name: `${piece.name}#${++section}`, metadata: piece.metadata, last: true })
    while (held.length > 2 * minLength) {
      const end = sectionEnd(held, minLength)
      yield { text: held.slice(0, end), ...named() }
      held = held.slice(end)
    }
    if (!piece.last) continue
    if (held) yield { text: held, ...named() }
    held = ''
    section = 0
  }
}

function sectionEnd(text: string, minLength: number): number {
  for (const boundary of [/\n[^\S\n]*\n\s*/g, /\n/g]) {
    boundary.lastIndex = minLength
    const found = boundary.exec(text)
    const end = found ? found.index + found[0].length : Number.POSITIVE_INFINITY
    if (end <= 2 * minLength) return end
  }
  return cutBefore(text, 2 * minLength)
}
