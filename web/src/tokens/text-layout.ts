/** Places the tokens of a text in lines, for a picture of it. */
import { piecesOf } from './pieces.ts'

export interface PlacedToken {
  /** The text on this line: a token with a line break is placed up to the break. */
  readonly text: string
  readonly token: number
  /** The upper left corner, and the width with the number of the expert. */
  readonly x: number
  readonly y: number
  readonly width: number
}

/** Height of a line of text, in pixels. */
export const LINE = 27

/**
 * @param width Width of the lines; a token that is longer than a line sticks out
 * @param measure Width of a token's text and of what follows it
 */
export function layOut(
  tokens: readonly string[],
  width: number,
  measure: (text: string, token: number) => number,
): { readonly placed: readonly PlacedToken[]; readonly height: number } {
  const placed: PlacedToken[] = []
  let [x, y] = [0, 0]
  const newLine = () => {
    x = 0
    y += LINE
  }
  tokens.forEach((token, index) => {
    const lines = piecesOf(token)
      .map(({ text }) => text)
      .join('')
      .split('\n')
    lines.forEach((text, i) => {
      if (i > 0) newLine()
      if (text === '') return
      const wide = measure(text, index)
      if (x > 0 && x + wide > width) newLine()
      placed.push({ text, token: index, x, y, width: wide })
      x += wide
    })
  })
  return { placed, height: y + LINE }
}
