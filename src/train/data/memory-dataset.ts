/**
 * The data of a run from files in memory: the same streams, tokenizer and hash as `open-dataset.ts` makes of the same
 * files on a disk. This file needs no module of Node.
 */
import type { DataConfig } from '../../core/config/data-config.ts'
import { UsageError } from '../../core/errors.ts'
import { sha256 } from '../../core/sha256.ts'
import {
  assertFits,
  CorpusText,
  type Dataset,
  datasetHash,
  type HeldOutDocument,
  openStreams,
  type TextOptions,
} from './dataset.ts'
import { decodeText } from './sources/decode.ts'
import { chooseFiles, type Examined, examine, isExamined, readThrough } from './sources/examine.ts'
import type { Piece } from './sources/piece.ts'
import { recordReaders } from './sources/records.ts'
import { hashedHeader, type SourceFile } from './sources/source-file.ts'
import { MemoryStorage, type TokenIds } from './streams/memory-storage.ts'
import { type StreamCounts, writeStreams } from './streams/write-streams.ts'
import { byteLevelTokenizer, bytesTokenizer, type Tokenizer } from './tokenizer/tokenizer.ts'

export interface MemoryFile extends SourceFile {
  readonly bytes: Uint8Array
}

/** A text as the tokens of its two streams. It is plain data, so a worker can prepare it for other workers. */
export interface TokenizedText {
  /** The tokenizer.json. */
  readonly tokenizer: string
  /** {@link Dataset.hash} */
  readonly hash: string
  readonly counts: StreamCounts
  readonly train: TokenIds
  readonly heldOut: TokenIds
  /** The lines that describe the held-out documents. */
  readonly documents: readonly string[]
}

/**
 * @param given Files in the order in which a disk would give them.
 * @throws UsageError if a file is not text or JSON, a field is missing, or there is too little text
 */
export async function memoryDataset(
  given: readonly MemoryFile[],
  config: DataConfig,
  options: TextOptions,
): Promise<Dataset> {
  return tokenizedDataset(await tokenizeFiles(given, config, options), options.sequence)
}

/** Tokenizes files. @throws UsageError as {@link memoryDataset}, except for text shorter than a sequence */
export async function tokenizeFiles(
  given: readonly MemoryFile[],
  config: DataConfig,
  options: TextOptions,
): Promise<TokenizedText> {
  const { signal, onProgress = () => {}, onNotice = () => {} } = options
  const { files, notices } = await examineAll(given, config)
  for (const notice of notices) onNotice(notice)
  const content = await hashOf(files, config.field)
  const text = new CorpusText(() => readFiles(files, config.field, signal), config, 'the text', onProgress)
  const tokenizer = options.tokenizer ?? (await chooseTokenizer(config, options, text))
  assertFits(tokenizer, config, options)
  const split = await text.split()
  const storage = new MemoryStorage()
  const counts = await writeStreams({ pieces: text.sides(split), split, tokenizer, storage, onProgress, signal })
  return {
    tokenizer: tokenizer.json,
    hash: await datasetHash(content, config, tokenizer),
    counts,
    train: storage.idsOf('train'),
    heldOut: storage.idsOf('held-out'),
    documents: storage.documents,
  }
}

/** Opens a text that {@link tokenizeFiles} has made. @throws UsageError if it is shorter than a sequence */
export function tokenizedDataset(text: TokenizedText, sequence: number | undefined): Dataset {
  const tokenizer = byteLevelTokenizer(text.tokenizer)
  const storage = new MemoryStorage({ train: text.train, 'held-out': text.heldOut })
  return {
    tokenizer,
    ...openStreams(storage, tokenizer, text.counts, sequence),
    hash: text.hash,
    async *heldOutDocuments() {
      for (const line of text.documents) yield JSON.parse(line) as HeldOutDocument
    },
    async close() {},
  }
}

/** Examines files in memory as `hashFiles` does on a disk. */
async function examineAll(given: readonly MemoryFile[], config: DataConfig) {
  const examined: Examined<MemoryFile>[] = []
  for (const file of given)
    examined.push(
      await examine(file, config, async (candidate) => {
        const { bytes, format } = candidate
        if (!isExamined(candidate, config) || format === 'parquet' || candidate.gzip) return
        const text = { bytes: bytes.length, chunks: decodeText([bytes], candidate) }
        await readThrough({ ...candidate, format }, text, candidate.field ?? config.field)
      }),
    )
  return chooseFiles(examined, [], config)
}

/** Hashes files in memory as `hashFiles` does on a disk. */
async function hashOf(files: readonly MemoryFile[], field: string): Promise<string> {
  const utf8 = new TextEncoder()
  const parts = files.flatMap((file) => [utf8.encode(hashedHeader(file, field, file.bytes.length)), file.bytes])
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return sha256(all)
}

async function* readFiles(files: readonly MemoryFile[], field: string, signal?: AbortSignal): AsyncGenerator<Piece> {
  for (const file of files) {
    signal?.throwIfAborted()
    const { bytes, format, name } = file
    if (file.origin === 'named' && bytes.length === 0) throw new UsageError(`data.source: ${name} is empty`)
    if (format === 'parquet' || file.gzip)
      throw new UsageError(`data.source: ${name} cannot be read here (expected text, JSON or JSONL, not compressed)`)
    const chunks = decodeText([bytes], file)
    yield* recordReaders[format](file, { bytes: bytes.length, chunks }, file.field ?? field)
  }
}

async function chooseTokenizer(config: DataConfig, options: TextOptions, text: CorpusText): Promise<Tokenizer> {
  switch (config.tokenizer.kind) {
    case 'bytes':
      return bytesTokenizer()
    case 'bpe':
      return byteLevelTokenizer(await text.trainTokenizer(options))
    case 'file':
      throw new UsageError('invalid data.tokenizer.kind: file (expected bpe or bytes: there are no files here)')
  }
}
