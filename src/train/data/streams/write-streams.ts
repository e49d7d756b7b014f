/**
 * Writes the training and held-out tokens. Held-out documents keep their order. Training documents are written in
 * source order with an index of their offsets, then copied in a seeded order. The index is in the storage and the order
 * is computed element by element, so memory does not grow with a corpus in files.
 */
import { UsageError } from '../../../core/errors.ts'
import { nextTurn } from '../../../core/next-turn.ts'
import { permute } from '../../../core/permutation.ts'
import type { Piece } from '../sources/piece.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { Progress } from './progress.ts'
import type { Split } from './split.ts'
import { type NumberList, type StreamStorage, type TokenReader, type Width, widthFor } from './storage.ts'

/** Number of ids copied at once. */
const COPIED_IDS = 1 << 16

/** Limits of a group of pieces that is encoded at once. */
const GROUP_CHARACTERS = 1 << 20
const GROUP_PIECES = 1 << 12

type SidedPiece = { readonly piece: Piece; readonly heldOut: boolean }

export interface StreamCounts {
  readonly trainDocuments: number
  readonly heldOutDocuments: number
}

export interface StreamWriting {
  readonly pieces: AsyncIterable<SidedPiece>
  readonly split: Split
  readonly tokenizer: Tokenizer
  readonly storage: StreamStorage
  readonly onProgress: (message: string) => void
  readonly signal: AbortSignal | undefined
}

export async function writeStreams(writing: StreamWriting): Promise<StreamCounts> {
  const { tokenizer, split, storage, onProgress, signal } = writing
  const width = widthFor(tokenizer.vocabulary)
  const endOfText = Int32Array.of(tokenizer.endOfText)
  const train = storage.createTokens('unordered', width)
  const heldOut = storage.createTokens('held-out', width)
  const starts = storage.createNumbers()
  const documents = storage.createDocuments()
  const counts = { trainDocuments: 0, heldOutDocuments: 0 }
  try {
    const progress = new Progress('tokenizing', split.characters, onProgress)
    heldOut.write(endOfText)
    starts.push(0)
    let start = heldOut.length
    for await (const group of groups(writing.pieces)) {
      signal?.throwIfAborted()
      const encoded = await tokenizer.encodeBatch(group.map(({ piece }) => piece.text))
      signal?.throwIfAborted()
      for (const [i, { piece, heldOut: held }] of group.entries()) {
        const side = held ? heldOut : train
        side.write(encoded[i] as Int32Array)
        progress.add(piece.text.length)
        if (!piece.last) continue
        side.write(endOfText)
        if (held) {
          const { name, metadata } = piece
          documents.write(JSON.stringify({ name, start, length: heldOut.length - start, metadata }))
          start = heldOut.length
          counts.heldOutDocuments++
        } else {
          starts.push(train.length)
          counts.trainDocuments++
        }
      }
    }
  } finally {
    train.close()
    heldOut.close()
    documents.close()
    starts.flush()
  }
  try {
    const whole = split.threshold === Number.POSITIVE_INFINITY
    if (!whole && (counts.trainDocuments === 0 || counts.heldOutDocuments === 0))
      throw new UsageError(
        `data.source: all ${split.documents} documents have the same text, so none can be held out; give more text`,
      )
    await reorder(starts, counts.trainDocuments, writing, width, endOfText)
  } finally {
    starts.close()
    storage.removeTokens('unordered')
  }
  return counts
}

/** Index in the source, among the training documents, of the document at `place` of the training stream. */
export const trainingDocumentAt = (place: number, documents: number, seed: number): number =>
  permute(place, documents, seed)

async function reorder(
  starts: NumberList,
  documents: number,
  { storage, split, signal, onProgress }: StreamWriting,
  width: Width,
  endOfText: Int32Array,
): Promise<void> {
  const reader = storage.openTokens('unordered', width)
  const progress = new Progress('ordering the documents', reader.length, onProgress, 'tokens')
  const train = storage.createTokens('train', width)
  try {
    train.write(endOfText)
    let since = performance.now()
    for (let i = 0; i < documents; i++) {
      const [start, end] = starts.pair(trainingDocumentAt(i, documents, split.seed))
      for (const part of readParts(reader, start, end - start)) {
        train.write(part)
        progress.add(part.length)
        if (performance.now() - since < 10) continue
        await nextTurn()
        signal?.throwIfAborted()
        since = performance.now()
      }
    }
  } finally {
    train.close()
    reader.close()
  }
}

/** The ids of a reader from `offset` on, in parts of bounded size. */
function* readParts(reader: TokenReader, offset: number, length: number): Generator<Int32Array> {
  const part = new Int32Array(Math.min(length, COPIED_IDS))
  for (let from = 0; from < length; from += part.length) {
    const next = part.subarray(0, length - from)
    reader.read(offset + from, next)
    yield next
  }
}

async function* groups(pieces: AsyncIterable<SidedPiece>): AsyncGenerator<SidedPiece[]> {
  let group: SidedPiece[] = []
  let characters = 0
  for await (const sided of pieces) {
    group.push(sided)
    characters += sided.piece.text.length
    if (characters < GROUP_CHARACTERS && group.length < GROUP_PIECES) continue
    yield group
    group = []
    characters = 0
  }
  if (group.length > 0) yield group
}
