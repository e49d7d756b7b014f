/**
 * The data of a run: two token streams and a tokenizer, made from `data` in the configuration.
 *
 * There are three steps: choose the split (one pass over the text), train the tokenizer (if the kind is `bpe`), write
 * the tokens. They are the same wherever the text comes from and the tokens go to: `open-dataset.ts` reads files and
 * keeps tokens in a cache, `memory-dataset.ts` has everything in memory.
 */
import type { DataConfig } from '../../core/config/data-config.ts'
import { UsageError } from '../../core/errors.ts'
import { sha256 } from '../../core/sha256.ts'
import { grouped } from '../../core/text/numbers.ts'
import { tooShortMessage } from './batches.ts'
import type { Metadata, Piece } from './sources/piece.ts'
import { counted, Pace, Progress } from './streams/progress.ts'
import { cutSections, MIN_DOCUMENTS, sectionLength } from './streams/sections.ts'
import { assertBothSides, type Split, surveyDocuments, withSides } from './streams/split.ts'
import { type StreamStorage, type TokenReader, widthFor } from './streams/storage.ts'
import type { TokenStream } from './streams/token-stream.ts'
import type { StreamCounts } from './streams/write-streams.ts'
import { trainBpe } from './tokenizer/bpe-training.ts'
import type { Tokenizer } from './tokenizer/tokenizer.ts'

/** Part of every hash. Increase it when a change of the code gives the same text other tokens or another split. */
const FORMAT_VERSION = 1

/**
 * Part of the hash of a tokenizer that is trained. Increase it when a change of the code gives another tokenizer, so that
 * a cached one is not used. Tokenizers of version 1 lacked tokens such as "constructor" and could not be read.
 */
const TOKENIZER_VERSION = 2

/** A held-out document: tokens `start` to `start + length` of the stream, the last of which is the end of text. */
export interface HeldOutDocument {
  readonly name: string
  readonly start: number
  readonly length: number
  readonly metadata?: Metadata
}

export interface Dataset {
  readonly tokenizer: Tokenizer
  /** The text for training, its documents in seeded order. */
  readonly train: TokenStream
  /** The held-out text, its documents in the order of the source. */
  readonly heldOut: TokenStream
  /** Hash of text, split and tokenizer: it changes when the tokens do. */
  readonly hash: string
  /** The held-out documents and their places in the stream, in order. */
  heldOutDocuments(): AsyncIterable<HeldOutDocument>
  close(): Promise<void>
}

export interface TextOptions {
  /** `model.vocabulary`; the tokenizer must not have more tokens. */
  readonly vocabulary: number
  /** If set, a split is refused if it has fewer tokens than one sequence of this length and its last target. */
  readonly sequence?: number
  /** Tokenizer to use instead of the configured one, e.g. when a run is resumed or evaluated. */
  readonly tokenizer?: Tokenizer
  readonly signal?: AbortSignal
  /** Receives progress messages and warnings. */
  readonly onProgress?: (message: string) => void
  /** Receives notices about files that are skipped, or not read as their endings say. */
  readonly onNotice?: (message: string) => void
}

type Splitting = Pick<DataConfig, 'heldOut' | 'seed'>

/** The text of a corpus and its split, which is computed on first use. */
export class CorpusText {
  private readonly read: () => AsyncIterable<Piece>
  private readonly config: Splitting
  private readonly what: string
  private readonly onProgress: (message: string) => void
  private section: number | undefined
  private splitting: Promise<Split> | undefined

  /**
   * @param read Reads the documents from the first one on.
   * @param what Name of the text in messages about progress.
   */
  constructor(
    read: () => AsyncIterable<Piece>,
    config: Splitting,
    what: string,
    onProgress: (message: string) => void,
  ) {
    this.read = read
    this.config = config
    this.what = what
    this.onProgress = onProgress
  }

  split(): Promise<Split> {
    this.splitting ??= this.survey()
    return this.splitting
  }

  /** Every piece, marked as training or held out. */
  sides(split: Split): ReturnType<typeof withSides> {
    return withSides(this.pieces(), split)
  }

  /** Trains a BPE tokenizer on the training documents and returns its tokenizer.json. */
  async trainTokenizer({ vocabulary, signal, onProgress = () => {} }: TextOptions): Promise<string> {
    const split = await this.split()
    const what = `training a tokenizer of ${vocabulary} tokens`
    onProgress(what)
    const pace = new Pace()
    return trainBpe({
      pieces: counted(trainingOnly(this.sides(split)), new Progress(what, split.characters, onProgress)),
      characters: split.characters,
      seed: this.config.seed,
      vocabulary,
      signal,
      warn: onProgress,
      onMerges: (made, wanted) => {
        if (pace.due() !== undefined) onProgress(`${what}: ${grouped(made)} of ${grouped(wanted)} merges`)
      },
    })
  }

  private pieces(): AsyncIterable<Piece> {
    return this.section === undefined ? this.read() : cutSections(this.read(), this.section)
  }

  private async survey(): Promise<Split> {
    const what = `reading ${this.what}`
    this.onProgress(what)
    const { heldOut, seed } = this.config
    let split = await surveyDocuments(
      counted(this.pieces(), new Progress(what, undefined, this.onProgress)),
      heldOut,
      seed,
    )
    if (split.documents > 0 && split.documents < MIN_DOCUMENTS) {
      this.section = sectionLength(split.characters)
      const cutting = new Progress(`cutting ${this.what} into sections`, split.characters, this.onProgress)
      split = await surveyDocuments(counted(this.pieces(), cutting), heldOut, seed)
    }
    assertBothSides(split, heldOut)
    return split
  }
}

async function* trainingOnly(sides: ReturnType<typeof withSides>): AsyncGenerator<Piece> {
  for await (const { piece, heldOut } of sides) if (!heldOut) yield piece
}

/** The hash of the BPE tokenizer that a text gives. @param content Hash of the text. */
export const tokenizerHash = (content: string, { seed, heldOut }: Splitting, vocabulary: number): Promise<string> =>
  sha256(JSON.stringify([TOKENIZER_VERSION, content, seed, heldOut, vocabulary]))

/** Computes {@link Dataset.hash}. @param content Hash of the text. */
export const datasetHash = async (
  content: string,
  { seed, heldOut }: Splitting,
  { json }: Tokenizer,
): Promise<string> => sha256(JSON.stringify([FORMAT_VERSION, content, seed, heldOut, await sha256(json)]))

/** @throws UsageError if the tokenizer has more tokens than the model */
export function assertFits(tokenizer: Tokenizer, config: Pick<DataConfig, 'tokenizer'>, options: TextOptions): void {
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

export interface OpenStreams extends Pick<Dataset, 'train' | 'heldOut'> {
  close(): void
}

/**
 * @param sequence If given, streams with fewer tokens than one sequence of this length and its last target are refused.
 * @throws UsageError if there is too little text
 */
export function openStreams(
  storage: StreamStorage,
  { vocabulary }: Tokenizer,
  counts: StreamCounts,
  sequence: number | undefined,
): OpenStreams {
  const width = widthFor(vocabulary)
  const train = storage.openTokens('train', width)
  const heldOut = storage.openTokens('held-out', width)
  const close = () => {
    train.close()
    heldOut.close()
  }
  for (const [side, { length }] of Object.entries({ training: train, 'held-out': heldOut }))
    if (sequence !== undefined && length < sequence + 1) {
      close()
      throw new UsageError(tooShortMessage(side, length, sequence))
    }
  const stream = (reader: TokenReader, documents: number): TokenStream => ({
    length: reader.length,
    documents,
    read: (offset, into) => reader.read(offset, into),
  })
  return { train: stream(train, counts.trainDocuments), heldOut: stream(heldOut, counts.heldOutDocuments), close }
}
