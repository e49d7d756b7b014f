/**
 * Which documents are held out: those whose seeded hash is smallest.
 *
 * The hash is of a document's text (its first piece), so the same text is always on the same side,
 * and adding documents moves few of the others. One number, the threshold, carries the whole split.
 */
import { UsageError } from '../../errors.ts'
import { hashText } from '../random.ts'
import type { Piece } from '../sources/documents.ts'

export interface Split {
  readonly documents: number
  /** UTF-16 units of the whole corpus. */
  readonly characters: number
  readonly seed: number
  /** Documents with a hash below it are held out. */
  readonly threshold: number
}

/** With more documents than this the hashes are not kept and the share is met on average only. */
const EXACT_UP_TO = 1 << 16

/**
 * Reads the corpus once and chooses the threshold: `heldOut` of the documents, rounded, at least one
 * on each side; or all of them when it is 1.
 */
export async function surveyDocuments(pieces: AsyncIterable<Piece>, heldOut: number, seed: number): Promise<Split> {
  const hashes: number[] = []
  let documents = 0
  let characters = 0
  let begins = true
  for await (const { text, last } of pieces) {
    characters += text.length
    if (begins && hashes.length <= EXACT_UP_TO) hashes.push(hashText(text, seed))
    begins = last
    if (last) documents++
  }
  const threshold =
    heldOut === 1 ? Number.POSITIVE_INFINITY : documents > EXACT_UP_TO ? heldOut * 2 ** 53 : exact(hashes, heldOut)
  return { documents, characters, seed, threshold }
}

function exact(hashes: number[], heldOut: number): number {
  const sorted = [...hashes].sort((a, b) => a - b)
  const count = Math.max(1, Math.min(hashes.length - 1, Math.round(heldOut * hashes.length)))
  const largest = sorted[count - 1] ?? 0
  // Equal texts have equal hashes and stay together: take them all in, unless nothing were left to train on.
  return sorted.find((hash) => hash > largest) ?? largest
}

/** @throws UsageError when one side is empty, which no choice of documents can help */
export function assertBothSides(split: Split, heldOut: number): void {
  if (split.documents === 0) throw new UsageError('data.source: there is no text in it')
  if (split.documents === 1 && heldOut < 1)
    throw new UsageError(
      `data.source: the text is too short to hold a part of it out (${split.characters} characters); give more text`,
    )
}

/** Each piece with its side. */
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
