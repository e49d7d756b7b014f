/** The text of a token as it is shown, and where tokens stand in their text. */

export interface Piece {
  readonly text: string
  /** A sign that stands for white space, to be shown quietly. */
  readonly sign: boolean
}

/**
 * White space that would not be seen gets a sign: `⏎` and the break itself, `→` for a tab, `·` for spaces that are
 * a whole token or more than one. A single space before a word stays as it is: the colour behind it shows it.
 */
export function piecesOf(token: string): Piece[] {
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

/** Where each token begins, in characters, and where the last one ends. */
export function offsetsOf(tokens: readonly string[]): Uint32Array {
  const offsets = new Uint32Array(tokens.length + 1)
  tokens.forEach((token, index) => {
    offsets[index + 1] = (offsets[index] ?? 0) + token.length
  })
  return offsets
}

/** Tokens that have a character of [from, to), as [first, after last). */
export function tokensAt(offsets: Uint32Array, from: number, to: number): readonly [number, number] {
  const tokens = offsets.length - 1
  let low = 0
  let high = tokens
  // The first token that ends behind `from`.
  while (low < high) {
    const middle = (low + high) >> 1
    if ((offsets[middle + 1] ?? 0) > from) high = middle
    else low = middle + 1
  }
  let end = low
  while (end < tokens && (offsets[end] ?? 0) < to) end++
  return [low, end]
}
