/**
 * The data of a run: two token streams and a tokenizer, made from `data` in the configuration.
 *
 * Three steps: choose the split (one pass over the text), train the tokenizer (if the kind is `bpe`), write
 * the tokens. Tokenizer and tokens are cached under a key of everything they depend on. Text is streamed in
 * pieces, so memory does not grow with the corpus.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import type { DataConfig } from '../config/data-config.ts'
import { UsageError } from '../errors.ts'
import { tooShortMessage } from './batches.ts'
import { type Cache, openCache } from './cache.ts'
import { hashFiles } from './sources/content.ts'
import { type Metadata, type Piece, readDocuments } from './sources/documents.ts'
import { resolveSources } from './sources/files.ts'
import { cutSections, MIN_DOCUMENTS, sectionLength } from './streams/sections.ts'
import { assertBothSides, type Split, surveyDocuments, withSides } from './streams/split.ts'
import { TokenReader, widthFor } from './streams/token-file.ts'
import type { TokenStream } from './streams/token-stream.ts'
import { documentsFile, heldOutFile, type StreamCounts, trainFile, writeStreams } from './streams/write-streams.ts'
import { trainBpe } from './tokenizer/bpe-training.ts'
import { bytesTokenizer, type Tokenizer, tokenizerFromJson } from './tokenizer/tokenizer.ts'

/** Part of every cache key. Increase it when a change of the code gives the same text other tokens or another split. */
const FORMAT_VERSION = 1

/** A held-out document: tokens `start` to `start + length` of the stream, the last of which is the end of text. */
export interface HeldOutDocument {
  readonly name: string
  readonly start: number
  readonly length: number
  readonly metadata?: Metadata
}

export interface Dataset {
  readonly tokenizer: Tokenizer
  /** In a seeded order of documents. */
  readonly train: TokenStream
  /** In the order of the source. */
  readonly heldOut: TokenStream
  /** Hash of text, split and tokenizer: it changes when the tokens do. */
  readonly hash: string
  /** The held-out documents and their places in the stream, in order. */
  heldOutDocuments(): AsyncIterable<HeldOutDocument>
  close(): Promise<void>
}

export interface DatasetOptions {
  /** `model.vocabulary`; the tokenizer must not have more tokens. */
  readonly vocabulary: number
  /** Refuse a split with fewer tokens than one sequence of this length and its last target. */
  readonly sequence?: number
  /** Hold out the whole text, for evaluation. */
  readonly holdOutAll?: boolean
  /** Use this tokenizer instead of the configured one, e.g. when a run is resumed or evaluated. */
  readonly tokenizer?: Tokenizer
  readonly signal?: AbortSignal
  /** Receives progress messages and warnings. */
  readonly onProgress?: (message: string) => void
  /** Source of `-`; default: standard input. */
  readonly stdin?: Readable
}

/**
 * Opens the data of a configuration, from the cache if possible.
 * @throws UsageError if the source, its format, a field or the tokenizer is unusable, or a file changes meanwhile
 * @throws RunError if the disk is full or a corpus package is missing
 */
export async function openDataset(config: DataConfig, options: DatasetOptions): Promise<Dataset> {
  const { signal, onProgress = () => {} } = options
  const cache = await openCache(config.cache, onProgress)
  try {
    const heldOut = options.holdOutAll ? 1 : config.heldOut
    const sources = await resolveSources(config.source, await cache.scratch(), options.stdin)
    const { hash: content, files } = await hashFiles(sources, config.field, signal)
    const source = typeof config.source === 'string' ? config.source : config.source.join(', ')
    const text = new CorpusText(
      () => readDocuments(files, config.field, signal),
      { heldOut, seed: config.seed },
      () => onProgress(`reading ${source}`),
    )

    const tokenizer = options.tokenizer ?? (await chooseTokenizer(config, options, cache, content, text, onProgress))
    assertFits(tokenizer, config, options)
    const hash = keyOf(FORMAT_VERSION, content, config.seed, heldOut, sha256(tokenizer.json))
    const folder = await cache.entry(`tokens-${hash.slice(0, 32)}`, 'tokens', async (building) => {
      const scratch = await cache.scratch()
      const split = await text.split()
      const counts = await writeStreams({
        pieces: text.sides(split),
        split,
        tokenizer,
        scratch,
        folder: building,
        onProgress,
        signal,
      })
      await writeFile(join(building, countsFile), JSON.stringify(counts))
    })
    return await openStreams(folder, tokenizer, hash, cache, options.sequence)
  } catch (error) {
    await cache.close()
    throw error
  }
}

const countsFile = 'counts.json'

/** The text of the corpus and its split, which is computed on first use. */
class CorpusText {
  private readonly read: () => AsyncIterable<Piece>
  private readonly config: Pick<DataConfig, 'heldOut' | 'seed'>
  private readonly onSurvey: () => void
  private section: number | undefined
  private splitting: Promise<Split> | undefined

  constructor(read: () => AsyncIterable<Piece>, config: Pick<DataConfig, 'heldOut' | 'seed'>, onSurvey: () => void) {
    this.read = read
    this.config = config
    this.onSurvey = onSurvey
  }

  split(): Promise<Split> {
    this.splitting ??= this.survey()
    return this.splitting
  }

  /** Every piece, marked as training or held out. */
  sides(split: Split): ReturnType<typeof withSides> {
    return withSides(this.pieces(), split)
  }

  private pieces(): AsyncIterable<Piece> {
    return this.section === undefined ? this.read() : cutSections(this.read(), this.section)
  }

  private async survey(): Promise<Split> {
    this.onSurvey()
    const { heldOut, seed } = this.config
    let split = await surveyDocuments(this.pieces(), heldOut, seed)
    if (split.documents > 0 && split.documents < MIN_DOCUMENTS) {
      this.section = sectionLength(split.characters)
      split = await surveyDocuments(this.pieces(), heldOut, seed)
    }
    assertBothSides(split, heldOut)
    return split
  }
}

async function chooseTokenizer(
  config: DataConfig,
  options: DatasetOptions,
  cache: Cache,
  content: string,
  text: CorpusText,
  onProgress: (message: string) => void,
): Promise<Tokenizer> {
  const { kind, path = '' } = config.tokenizer
  if (kind === 'bytes') return bytesTokenizer()
  if (kind === 'file') {
    const json = await readFile(path, 'utf8').catch((error: Error) => {
      throw new UsageError(`data.tokenizer.path: cannot read ${path}: ${error.message}`)
    })
    return tokenizerFromJson(json, `data.tokenizer.path: ${path}`)
  }
  const { vocabulary, signal } = options
  const key = keyOf(FORMAT_VERSION, content, config.seed, config.heldOut, vocabulary)
  const folder = await cache.entry(`tokenizer-${key.slice(0, 32)}`, 'tokenizer', async (building) => {
    const split = await text.split()
    onProgress(`training a tokenizer of ${vocabulary} tokens`)
    const json = await trainBpe({
      pieces: trainingOnly(text.sides(split)),
      characters: split.characters,
      seed: config.seed,
      vocabulary,
      scratch: await cache.scratch(),
      signal,
      warn: onProgress,
    })
    await writeFile(join(building, 'tokenizer.json'), json)
  })
  return tokenizerFromJson(await readFile(join(folder, 'tokenizer.json'), 'utf8'))
}

async function* trainingOnly(sides: ReturnType<typeof withSides>): AsyncGenerator<Piece> {
  for await (const { piece, heldOut } of sides) if (!heldOut) yield piece
}

function assertFits(tokenizer: Tokenizer, config: DataConfig, options: DatasetOptions): void {
  if (tokenizer.vocabulary <= options.vocabulary) return
  const { kind, path } = config.tokenizer
  const what = options.tokenizer
    ? "the run's tokenizer"
    : kind === 'file'
      ? `data.tokenizer.path ${path}`
      : `data.tokenizer.kind "${kind}"`
  throw new UsageError(
    `${what} has ${tokenizer.vocabulary} tokens but model.vocabulary is ${options.vocabulary}; ` +
      `set model.vocabulary to at least ${tokenizer.vocabulary}`,
  )
}

async function openStreams(
  folder: string,
  tokenizer: Tokenizer,
  hash: string,
  cache: Cache,
  sequence: number | undefined,
): Promise<Dataset> {
  const counts = JSON.parse(await readFile(join(folder, countsFile), 'utf8')) as StreamCounts
  const width = widthFor(tokenizer.vocabulary)
  const readers: TokenReader[] = []
  const open = (file: string, documents: number): TokenStream => {
    const reader = new TokenReader(join(folder, file), width)
    readers.push(reader)
    return { length: reader.length, documents, read: (offset, into) => reader.read(offset, into) }
  }
  const close = async (): Promise<void> => {
    for (const reader of readers.splice(0)) reader.close()
    await cache.close()
  }
  try {
    const train = open(trainFile, counts.trainDocuments)
    const heldOut = open(heldOutFile, counts.heldOutDocuments)
    if (sequence !== undefined)
      for (const [side, { length }] of [
        ['training', train],
        ['held-out', heldOut],
      ] as const)
        if (length < sequence + 1) throw new UsageError(tooShortMessage(side, length, sequence))
    return {
      tokenizer,
      train,
      heldOut,
      hash,
      async *heldOutDocuments() {
        const lines = createInterface({ input: createReadStream(join(folder, documentsFile)) })
        for await (const line of lines) yield JSON.parse(line) as HeldOutDocument
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
const keyOf = (...parts: readonly (string | number)[]): string => sha256(JSON.stringify(parts))
