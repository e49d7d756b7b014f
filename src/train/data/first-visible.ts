/** The first visible position of each token, for attention that does not cross documents. */
import type { DataConfig } from '../../core/config/data-config.ts'

/** The token at which attention restarts (`data.crossDocuments` false); undefined if attention crosses documents. */
export const separatorOf = (
  { crossDocuments }: Pick<DataConfig, 'crossDocuments'>,
  { endOfText }: { readonly endOfText: number },
): number | undefined => (crossDocuments ? undefined : endOfText)

/**
 * Writes the first position that each token may see in its window. A separator belongs to the document after it:
 * it sees only itself, and the tokens of that document see it. Tokens before the first separator of a window,
 * usually the rest of a document, see it from position 0 on.
 * @param tokens Consecutive windows of `sequence` tokens [T].
 * @param into Positions within the window, 0 to sequence − 1 [T].
 */
export function firstVisible(tokens: Int32Array, sequence: number, separator: number, into: Int32Array): void {
  let first = 0
  for (let t = 0; t < tokens.length; t++) {
    const position = t % sequence
    if (position === 0) first = 0
    if (tokens[t] === separator) first = position
    into[t] = first
  }
}
