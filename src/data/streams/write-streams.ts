/**
 * Writes the training and held-out tokens to files. Held-out documents keep their order. Training
 * documents are written in source order with an index of their offsets, then copied in a seeded order.
 * The index is on disk and the order is computed element by element, so memory does not grow with the corpus.
 */
import { closeSync, openSync, readSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { UsageError } from '../../errors.ts'
import { permute } from '../random.ts'
import type { Piece } from '../sources/documents.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import type { Split } from './split.ts'
import { readParts, TokenReader, TokenWriter, type Width, widthFor, writeAll } from './token-file.ts'

export const trainFile = 'train.bin'
export const heldOutFile = 'held-out.bin'
/** One line per held-out document: name, start, length, metadata. */
export const documentsFile = 'held-out-documents.jsonl'

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
  /** Folder for temporary files, and folder for the result. */
  readonly scratch: string
  readonly folder: string
  readonly onProgress: (message: string) => void
  readonly signal: AbortSignal | undefined
}

export async function writeStreams(writing: StreamWriting): Promise<StreamCounts> {
  const { tokenizer, split, scratch, folder, onProgress, signal } = writing
  const width = widthFor(tokenizer.vocabulary)
  const endOfText = Int32Array.of(tokenizer.endOfText)
  const unordered = join(scratch, 'unordered.bin')
  const train = new TokenWriter(unordered, width)
  const heldOut = new TokenWriter(join(folder, heldOutFile), width)
  const starts = new NumberFile(join(scratch, 'starts.bin'))
  const documents = new LineFile(join(folder, documentsFile))
  const counts = { trainDocuments: 0, heldOutDocuments: 0 }
  try {
    const progress = new Progress(split.characters, onProgress)
    heldOut.write(endOfText)
    starts.push(0)
    let start = heldOut.length
    for await (const group of groups(writing.pieces)) {
      signal?.throwIfAborted()
      const encoded = await tokenizer.encodeBatch(group.map(({ piece }) => piece.text))
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
    await reorder(unordered, starts, counts.trainDocuments, writing, width, endOfText)
  } finally {
    starts.close()
    rmSync(unordered, { force: true })
  }
  return counts
}

async function reorder(
  unordered: string,
  starts: NumberFile,
  documents: number,
  { folder, split, signal }: StreamWriting,
  width: Width,
  endOfText: Int32Array,
): Promise<void> {
  const reader = new TokenReader(unordered, width)
  const train = new TokenWriter(join(folder, trainFile), width)
  try {
    train.write(endOfText)
    let since = performance.now()
    for (let i = 0; i < documents; i++) {
      const [start, end] = starts.pair(permute(i, documents, split.seed))
      for (const part of readParts(reader, start, end - start)) {
        train.write(part)
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

/** Float64 numbers in a file: first appended, then read as pairs of neighbours. */
class NumberFile {
  private readonly file: number
  private readonly buffer = new Float64Array(4096)
  private readonly pairBuffer = new Float64Array(2)
  private filled = 0

  constructor(path: string) {
    this.file = openSync(path, 'w+')
  }

  push(value: number): void {
    this.buffer[this.filled++] = value
    if (this.filled === this.buffer.length) this.flush()
  }

  flush(): void {
    writeAll(this.file, new Uint8Array(this.buffer.buffer, 0, this.filled * 8))
    this.filled = 0
  }

  pair(index: number): readonly [number, number] {
    if (readSync(this.file, new Uint8Array(this.pairBuffer.buffer), 0, 16, index * 8) !== 16)
      throw new Error(`internal: document ${index} is not in the index`)
    return [this.pairBuffer[0] as number, this.pairBuffer[1] as number]
  }

  close(): void {
    closeSync(this.file)
  }
}

class LineFile {
  private readonly file: number
  private held = ''

  constructor(path: string) {
    this.file = openSync(path, 'w')
  }

  write(line: string): void {
    this.held += `${line}\n`
    if (this.held.length > 1 << 16) this.flush()
  }

  close(): void {
    try {
      this.flush()
    } finally {
      closeSync(this.file)
    }
  }

  private flush(): void {
    writeAll(this.file, Buffer.from(this.held))
    this.held = ''
  }
}

/** Reports progress once a second. */
class Progress {
  private readonly total: number
  private readonly onProgress: (message: string) => void
  private readonly startedAt = performance.now()
  private reportedAt = this.startedAt
  private done = 0

  constructor(total: number, onProgress: (message: string) => void) {
    this.total = total
    this.onProgress = onProgress
  }

  add(characters: number): void {
    this.done += characters
    const now = performance.now()
    if (now - this.reportedAt < 1000) return
    this.reportedAt = now
    const rate = this.done / (now - this.startedAt) / 1000
    this.onProgress(
      `tokenizing: ${millions(this.done)} of ${millions(this.total)} million characters, ${rate.toFixed(1)} million per second`,
    )
  }
}

const millions = (characters: number): string => (characters / 1e6).toFixed(1)
