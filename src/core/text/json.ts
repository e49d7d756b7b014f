/** JSON of files that people write and that may be damaged: parsing it, and naming the place of a fault. */

/** JSON without spaces and with sorted keys, so that equal values have equal texts. */
export const canonicalJson = (value: unknown): string =>
  JSON.stringify(value, (_, below: unknown) =>
    typeof below === 'object' && below !== null && !Array.isArray(below)
      ? Object.fromEntries(Object.entries(below).sort(([a], [b]) => (a < b ? -1 : 1)))
      : below,
  )

/**
 * Parses JSON.
 * @throws SyntaxError with the place of the fault as a clause about the file: `it is not JSON (line 2, column 7)`
 */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    if (text.trim() === '') throw new SyntaxError('it is empty')
    // The engine's own message differs from version to version and quotes the whole line, so only its position is used.
    const position = /position (\d+)/.exec((error as Error).message)?.[1]
    throw new SyntaxError(`it is not JSON${position === undefined ? '' : ` (${placeOf(text, Number(position))})`}`)
  }
}

/** Line and column of a character, from 1. */
export function placeOf(text: string, position: number): string {
  const lines = text.slice(0, position).split('\n')
  return `line ${lines.length}, column ${(lines.at(-1)?.length ?? 0) + 1}`
}
