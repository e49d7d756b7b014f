/** Documents as they are read: in pieces of bounded size, since a document may be larger than memory. */

/** Fields of a document besides its text, e.g. year, name of the president and party. */
export type Metadata = Readonly<Record<string, string | number | boolean>>

export interface Piece {
  readonly text: string
  /** Whether the document ends with this piece. */
  readonly last: boolean
  /** Name of the file and, if it holds several documents, the place in it. */
  readonly name: string
  readonly metadata: Metadata | undefined
}

/** Maximum length of a piece, in UTF-16 units. */
export const PIECE_LENGTH = 1 << 16

/**
 * Position at which to cut a text longer than `limit`: before the last white space that is followed by a
 * non-space, so that byte-level tokenizers find the same words as in the whole text; else at the limit.
 */
export function cutBefore(text: string, limit: number): number {
  for (let i = limit - 1; i > limit / 2; i--) if (isSpace(text, i) && !isSpace(text, i + 1)) return i
  const code = text.charCodeAt(limit)
  return code >= 0xdc00 && code <= 0xdfff ? limit - 1 : limit
}

function isSpace(text: string, i: number): boolean {
  const code = text.charCodeAt(i)
  return code === 0x20 || (code >= 9 && code <= 13) || (code >= 0x85 && /\p{White_Space}/u.test(text[i] as string))
}
