/**
 * A sample of windows, each within one document, for questions about documents.
 *
 * Think of reading a few pages from every book of a shelf. A window never crosses into the next document,
 * so its tokens belong to that document's year, party or chapter. Pages are spread evenly over each book,
 * and over the shelf if it has more books than the budget allows. Nothing is random: the same shelf gives
 * the same pages.
 */
import type { Dataset, HeldOutDocument } from './dataset.ts'

/** Consecutive tokens of one document, with their place in the stream. */
export interface DocumentWindow {
  /** Index into the documents of the sample. */
  readonly document: number
  /** Offset in the stream; the target of token i is token i + 1 of the stream. */
  readonly start: number
  /** Number of tokens, from 1 to `sequence`; less than `sequence` only if the document is shorter. */
  readonly length: number
}

export interface SampleLimits {
  /** Maximum length of a window, in tokens. */
  readonly sequence: number
  /** Maximum number of tokens in the sample (at least one window is taken). */
  readonly tokens: number
  /** Maximum number of tokens of one document (at least one window is taken). Default: `tokens`. */
  readonly perDocument?: number
}

export interface Sample {
  readonly documents: readonly HeldOutDocument[]
  readonly windows: readonly DocumentWindow[]
}

/**
 * Samples windows of the held-out documents (open the dataset with `whole` to sample all documents), without their
 * end-of-text tokens. All documents get the same number of windows; windows that short documents cannot use go to
 * longer ones.
 */
export async function sampleWindows(
  { heldOut, heldOutDocuments }: Pick<Dataset, 'heldOut' | 'heldOutDocuments'>,
  { sequence, tokens, perDocument = tokens }: SampleLimits,
): Promise<Sample> {
  const budget = Math.max(1, Math.floor(tokens / sequence))
  const taken = Math.min(heldOut.documents, budget)
  const documents: HeldOutDocument[] = []
  let index = 0
  for await (const document of heldOutDocuments()) {
    // Take the middle document of each of `taken` equal parts of the list.
    const next = Math.floor(((documents.length + 0.5) * heldOut.documents) / taken)
    if (index++ === next) documents.push(document)
  }
  const available = documents.map(({ length }) => Math.max(1, Math.floor((length - 1) / sequence)))
  const maxWindows = Math.min(windowLimit(available, budget), Math.max(1, Math.floor(perDocument / sequence)))
  const windows = documents.flatMap(({ start, length }, document): DocumentWindow[] => {
    const count = Math.min(available[document] as number, maxWindows)
    const size = Math.min(sequence, length - 1)
    if (size < 1) return []
    const spare = length - 1 - count * size
    return Array.from({ length: count }, (_, i) => ({
      document,
      start: start + i * size + Math.floor((spare * (i + 0.5)) / count),
      length: size,
    }))
  })
  return { documents, windows }
}

/** The largest limit per document with which all documents together take at most `budget` windows; at least 1. */
function windowLimit(available: readonly number[], budget: number): number {
  let rest = budget
  const sorted = [...available].sort((a, b) => a - b)
  for (const [i, count] of sorted.entries()) {
    const equal = Math.floor(rest / (sorted.length - i))
    if (count > equal) return Math.max(1, equal)
    rest -= count
  }
  return Math.max(1, sorted.at(-1) ?? 1)
}
