/**
 * A sample of documents as windows: what a trained model is shown when the question is about documents.
 *
 * Think of reading a few pages from every book of a shelf. A window is a run of tokens of one document
 * and never crosses into the next, so whatever is found in it belongs to that document's year, party or
 * chapter. Pages are spread evenly: over the shelf when it has more books than pages can be read, and
 * over each book. Nothing is drawn, so the same shelf gives the same pages.
 */
import type { Dataset, HeldOutDocument } from './dataset.ts'

/** A run of tokens of one document, with its place in the stream. */
export interface DocumentWindow {
  /** Index into the documents of the sample. */
  readonly document: number
  /** Offset in the stream; the target of token i is token i + 1 of the stream. */
  readonly start: number
  /** From 1 to the length of a sequence; shorter only when the document is. */
  readonly length: number
}

export interface SampleLimits {
  /** Longest window. */
  readonly sequence: number
  /** Tokens of the whole sample, at most (but at least a window is taken). */
  readonly tokens: number
  /** Tokens of one document, at most (but at least a window). Default: no limit besides `tokens`. */
  readonly perDocument?: number
}

export interface Sample {
  readonly documents: readonly HeldOutDocument[]
  readonly windows: readonly DocumentWindow[]
}

/**
 * Windows of the held-out documents (open the dataset with `whole` for all documents). The end of a
 * document is left out: it is no text of it. All documents get the same number of windows, as far as
 * they have them, and of what short ones leave over the longer get more.
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
    // The document in the middle of each of `taken` equal parts of the list.
    const next = Math.floor(((documents.length + 0.5) * heldOut.documents) / taken)
    if (index++ === next) documents.push(document)
  }
  const available = documents.map(({ length }) => Math.max(1, Math.floor((length - 1) / sequence)))
  const most = Math.min(shareOf(available, budget), Math.max(1, Math.floor(perDocument / sequence)))
  const windows = documents.flatMap(({ start, length }, document): DocumentWindow[] => {
    const count = Math.min(available[document] as number, most)
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

/** The largest number that each may have at most, such that all together have at most `budget`; at least 1. */
function shareOf(available: readonly number[], budget: number): number {
  let rest = budget
  const sorted = [...available].sort((a, b) => a - b)
  for (const [i, count] of sorted.entries()) {
    const equal = Math.floor(rest / (sorted.length - i))
    if (count > equal) return Math.max(1, equal)
    rest -= count
  }
  return Math.max(1, sorted.at(-1) ?? 1)
}
