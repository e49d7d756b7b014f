/**
 * A corpus of very few documents cannot be split by document, so it is cut into sections first, and
 * a section counts as a document.
 *
 * The rule: with fewer than 20 documents, every document is cut after the first blank line past 8 Ki
 * characters; where there is none before 16 Ki, after the first line break, else before a word. Of a
 * text below 160 Ki characters the sections are a twentieth of it instead (but at least 256), so that
 * there are enough of them.
 */
import type { Piece } from '../sources/documents.ts'
import { cutBefore } from '../sources/text.ts'

export const FEW_DOCUMENTS = 20
const USUAL_LENGTH = 8 << 10

/** The least length of a section, given the characters of the corpus. */
export function sectionLength(characters: number): number {
  return Math.max(256, Math.min(USUAL_LENGTH, Math.floor(characters / FEW_DOCUMENTS)))
}

/** Every document cut into sections of `least` to twice as many characters. */
export async function* cutSections(pieces: AsyncIterable<Piece>, least: number): AsyncGenerator<Piece> {
  let held = ''
  let section = 0
  for await (const piece of pieces) {
    held += piece.text
    const named = () => ({ name: `${piece.name}#${++section}`, metadata: piece.metadata, last: true })
    while (held.length > 2 * least) {
      const end = sectionEnd(held, least)
      yield { text: held.slice(0, end), ...named() }
      held = held.slice(end)
    }
    if (!piece.last) continue
    if (held) yield { text: held, ...named() }
    held = ''
    section = 0
  }
}

function sectionEnd(text: string, least: number): number {
  for (const boundary of [/\n[^\S\n]*\n\s*/g, /\n/g]) {
    boundary.lastIndex = least
    const found = boundary.exec(text)
    const end = found ? found.index + found[0].length : Number.POSITIVE_INFINITY
    if (end <= 2 * least) return end
  }
  return cutBefore(text, 2 * least)
}
