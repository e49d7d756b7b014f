/**
 * Opens the data of a run from files. Tokenizer and tokens are cached under a hash of everything they depend on. Text
 * is streamed in pieces and tokens are read from files, so memory does not grow with the corpus.
 */
import { createReadStream } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import type { DataConfig } from '../../core/config/data-config.ts'
import { UsageError } from '../../core/errors.ts'
import {
  assertFits,
  CorpusText,
  type Dataset,
  datasetHash,
  type HeldOutDocument,
  openStreams,
  type TextOptions,
  tokenizerHash,
} from '../../train/data/dataset.ts'
import { Progress } from '../../train/data/streams/progress.ts'
import { documentsFile } from '../../train/data/streams/storage.ts'
import { type StreamCounts, writeStreams } from '../../train/data/streams/write-streams.ts'
import { bytesTokenizer, type Tokenizer } from '../../train/data/tokenizer/tokenizer.ts'
import { JSON_BYTES, readText } from '../system/read-text.ts'
import { type Cache, openCache } from './cache.ts'
import { hashFiles } from './sources/content.ts'
import { readDocuments } from './sources/documents.ts'
import { resolveSources } from './sources/files.ts'
import { diskStorage } from './streams/disk-storage.ts'
import { tokenizerFromJson } from './tokenizer/native-tokenizer.ts'

export interface DatasetOptions extends TextOptions {
  /** Whether the whole text is held out, for evaluation. */
  readonly holdOutAll?: boolean
  /** The run directory that holds entries of `data.source` beginning with `run:`. */
  readonly directory?: string
  /** Stream that the source `-` reads; default: standard input. */
  readonly stdin?: Readable
}

/**
 * Opens the data of a configuration, from the cache if possible.
 * @throws UsageError if the source, its format, a field or the tokenizer is unusable, or a file changes while it is
 *   being read
 * @throws RunError if the disk is full or a corpus package is missing
 */
export async function openDataset(config: DataConfig, options: DatasetOptions): Promise<Dataset> {
  const { signal, onProgress = () => {}, onNotice = () => {} } = options
  const cache = await openCache(config.cache, onProgress, signal)
  try {
    // A text that is held out whole keeps its order, whatever the seed.
    const splitting = options.holdOutAll ? { heldOut: 1, seed: 0 } : { heldOut: config.heldOut, seed: config.seed }
    const sources = await resolveSources(config.source, { ...options, scratch: await cache.scratch() })
    const source = typeof config.source === 'string' ? config.source : config.source.join(', ')
    const hashing = new Progress(`hashing ${source}`, undefined, onProgress, 'bytes')
    const hashed = await hashFiles(sources, config, signal, (bytes) => hashing.add(bytes))
    const { hash: content, files, notices } = hashed
    for (const notice of notices) onNotice(notice)
    const text = new CorpusText(() => readDocuments(files, config.field, signal), splitting, source, onProgress)

    const tokenizer = options.tokenizer ?? (await chooseTokenizer(config, options, cache, content, text))
    assertFits(tokenizer, config, options)
    const hash = await datasetHash(content, splitting, tokenizer)
    const folder = await cache.entry(`tokens-${hash.slice(0, 32)}`, 'tokens', async (building) => {
      const split = await text.split()
      const storage = diskStorage(await cache.scratch(), building)
      const counts = await writeStreams({ pieces: text.sides(split), split, tokenizer, storage, onProgress, signal })
      await writeFile(join(building, countsFile), JSON.stringify(counts))
    })
    const counts = JSON.parse(await readFile(join(folder, countsFile), 'utf8')) as StreamCounts
    const { train, heldOut, close } = openStreams(diskStorage(folder, folder), tokenizer, counts, options.sequence)
    return {
      tokenizer,
      train,
      heldOut,
      hash,
      async *heldOutDocuments() {
        const lines = createInterface({ input: createReadStream(join(folder, documentsFile)) })
        for await (const line of lines) yield JSON.parse(line) as HeldOutDocument
      },
      async close() {
        close()
        await cache.close()
      },
    }
  } catch (error) {
    await cache.close()
    throw error
  }
}

const countsFile = 'counts.json'

async function chooseTokenizer(
  config: DataConfig,
  options: DatasetOptions,
  cache: Cache,
  content: string,
  text: CorpusText,
): Promise<Tokenizer> {
  const { kind, path = '' } = config.tokenizer
  if (kind === 'bytes') return bytesTokenizer()
  if (kind === 'file') {
    const json = await readText(path, JSON_BYTES).catch((error: Error) => {
      throw new UsageError(`data.tokenizer.path: cannot read ${path}: ${error.message}`)
    })
    return tokenizerFromJson(json, `data.tokenizer.path: ${path}`)
  }
  const key = await tokenizerHash(content, config, options.vocabulary)
  const folder = await cache.entry(`tokenizer-${key.slice(0, 32)}`, 'tokenizer', async (building) => {
    await writeFile(join(building, 'tokenizer.json'), await text.trainTokenizer(options))
  })
  return tokenizerFromJson(await readFile(join(folder, 'tokenizer.json'), 'utf8'))
}
