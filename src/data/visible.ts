/** Where documents begin in windows of a token stream, for attention that does not look beyond them. */
import type { DataConfig } from '../config/data-config.ts'

/** The token at which attention begins again (`data.crossDocuments` false); undefined where it crosses documents. */
export const separatorOf = (
  { crossDocuments }: Pick<DataConfig, 'crossDocuments'>,
  { endOfText }: { readonly endOfText: number },
): number | undefined => (crossDocuments ? undefined : endOfText)

/**
 * The first position that each token may see in its own window. The separator opens what follows it: it sees
 * itself alone, and the tokens of its document see it and each other. What a window begins with, in the middle of
 * a document as a rule, is seen from position 0 on.
 * @param tokens Windows of `sequence` tokens, one after the other [T].
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
