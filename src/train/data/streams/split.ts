/**
 * Chooses the held-out documents, which have the smallest seeded hashes.
 *
 * The hash is taken of a document's text (its first piece), so the same text is always on the same side, and adding
 * documents changes the side of few others. The whole split is one number, the threshold.
 */
import { UsageError } from '../../../core/errors.ts'
import { hashText } from '../../../core/permutation.ts'
import { plural } from '../../../core/text/numbers.ts'
import type { Piece } from '../sources/piece.ts'

export interface Split {
  readonly documents: number
  /** Number of UTF-16 units of the whole corpus. */
  readonly characters: number
  readonly seed: number
  /** Documents with a hash below this number are held out. */
  readonly threshold: number
}

/** Number of documents above which hashes are not kept, and the held-out share is met only on average. */
const MAX_EXACT_DOCUMENTS = 1 << 16

/**
 * Reads the corpus once and chooses the threshold that holds out the share `heldOut` of the documents, rounded, with at
 * least one document on each side, or all documents if `heldOut` is 1.
 */
export async function surveyDocuments(pieces: AsyncIterable<Piece>, heldOut: number, seed: number): Promise<Split> {
  const hashes: number[] = []
  let documents = 0
  let characters = 0
  let isFirstPiece = true
  for await (const { text, last } of pieces) {
    characters += text.length
    if (isFirstPiece && hashes.length <= MAX_EXACT_DOCUMENTS) hashes.push(hashText(text, seed))
    isFirstPiece = last
    if (last) documents++
  }
  const threshold =
    heldOut === 1
      ? Number.POSITIVE_INFINITY
      : documents > MAX_EXACT_DOCUMENTS
        ? heldOut * 2 ** 53
        : exactThreshold(hashes, heldOut)
  return { documents, characters, seed, threshold }
}

function exactThreshold(hashes: number[], heldOut: number): number {
  const sorted = [...hashes].sort((a, b) => a - b)
  const count = Math.max(1, Math.min(hashes.length - 1, Math.round(heldOut * hashes.length)))
  const largest = sorted[count - 1] ?? 0
  // Equal texts have equal hashes and stay together: hold out all of them, unless no training text would be left.
  return sorted.find((hash) => hash > largest) ?? largest
}

/** @throws UsageError if there are too few documents for two sides */
export function assertBothSides(split: Split, heldOut: number): void {
  if (split.documents === 0) throw new UsageError('data.source: it contains no text')
  if (split.documents === 1 && heldOut < 1)
    throw new UsageError(
      `data.source: the text is too short to hold out a part of it (${plural(split.characters, 'character')}); give more text`,
    )
}

/** Marks each piece as training or held out. */
export async function* withSides(
  pieces: AsyncIterable<Piece>,
  split: Split,
): AsyncGenerator<{ readonly piece: Piece; readonly heldOut: boolean }> {
  let begins = true
  let heldOut = false
  for await (const piece of pieces) {
    if (begins) heldOut = hashText(piece.text, split.seed) < split.threshold
    yield { piece, heldOut }
    begins = piece.last
  }
}
