/** The displayed text of a token, and positions of tokens in their text. */

import { bisectRight } from 'd3-array'

interface Piece {
  readonly text: string
  /** Whether it is a sign for white space, which is shown faintly. */
  readonly sign: boolean
}

/**
 * The pieces of a token. Invisible white space gets a sign: `⏎` before a line break, `→` for a tab, `·` for spaces that
 * form a whole token or are more than one. A single space before a word stays, because the background shows it. `◌` is
 * a token that ends within a character; the character is shown with the token that completes it.
 */
export function piecesOf(token: string): Piece[] {
  if (token === '') return [{ text: '◌', sign: true }]
  const pieces: Piece[] = []
  for (const text of token.match(/\r\n|[\n\r]|\t| {2,}|^ +$|[^\n\r\t ]+(?: [^\n\r\t ]+)*|[^\n\r\t]/g) ?? []) {
    if (/^[\n\r]/.test(text)) pieces.push({ text: '⏎', sign: true }, { text: '\n', sign: false })
    else if (text === '\t') pieces.push({ text: '→\t', sign: true })
    else if (/^ +$/.test(text) && (text.length > 1 || token === text))
      pieces.push({ text: '·'.repeat(text.length), sign: true })
    else pieces.push({ text, sign: false })
  }
  return pieces
}

/**
 * Start of each token in characters, and end of the last one. Tokens that end within a character (their text is empty)
 * and the token that completes it share its width evenly, so that each can be pointed at.
 */
export function offsetsOf(tokens: readonly string[]): Float64Array {
  const offsets = new Float64Array(tokens.length + 1)
  let end = 0
  let first = 0
  tokens.forEach((token, index) => {
    if (token !== '') {
      const sharers = index - first + 1
      for (let each = first; each < index; each++) offsets[each + 1] = end + (each - first + 1) / sharers
      end += token.length
      first = index + 1
    }
    offsets[index + 1] = end
  })
  return offsets
}

/** Tokens that overlap the characters [from, to), as [first, after last). */
export function tokensAt(offsets: Float64Array, from: number, to: number): readonly [number, number] {
  const tokens = offsets.length - 1
  // The first token that ends after `from`.
  const first = bisectRight(offsets, from, 1) - 1
  let end = first
  while (end < tokens && (offsets[end] ?? 0) < to) end++
  return [first, end]
}
