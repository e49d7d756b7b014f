/** The text of a token as it is shown, and where tokens stand in their text. */

export interface Piece {
  readonly text: string
  /** A sign that stands for white space, to be shown quietly. */
  readonly sign: boolean
}

/**
 * White space that would not be seen gets a sign: `⏎` and the break itself, `→` for a tab, `·` for spaces that are
 * a whole token or more than one. A single space before a word stays as it is: the colour behind it shows it. `◌` is
 * a token that ends within a character, which then stands in the token that ends it.
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
 * Where each token begins, in characters, and where the last one ends. Tokens that end within a character (their text
 * is empty) and the one that ends it share that character evenly, so that each of them can be pointed at.
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

/** Tokens that have a character of [from, to), as [first, after last). */
export function tokensAt(offsets: Float64Array, from: number, to: number): readonly [number, number] {
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
