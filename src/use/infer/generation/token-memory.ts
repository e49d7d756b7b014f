/**
 * The memory of a {@link TokenDecoder}: key-value caches of its texts, and working memory of its programs, which compute
 * the next tokens of one text, or of 2, 4, ... texts at once.
 *
 * On the CPU it is in the arena of the parameters if there is one and its scratch memory is large enough. Otherwise it is
 * an arena of its own: then kernels reach matrices and tables in the arenas of the parameters, and vectors, such as norms,
 * are copied.
 */
import { sizeOf } from '../../../core/graph/shape.ts'
import { activatedExperts } from '../../../core/model/config/moe-config.ts'
import { attentionColumns, headWidthOf, type ModelConfig } from '../../../core/model/config.ts'
import { pageOf, pagesFor } from '../../../core/model/kv-cache.ts'
import { type ParameterSpec, parameterSpecs } from '../../../core/model/parameters.ts'
import { MAX_ARENA_BYTES } from '../../../engine/contract/arena.ts'
import type { Runtime } from '../../../engine/contract/runtime.ts'
import { OutOfMemory } from '../../../engine/contract/runtime-error.ts'
import { Bank, BESIDE_BYTES, type BorrowedScratch, paddedFloats } from '../../../train/step/store/bank.ts'
import type { ModelStore } from '../../../train/step/store/model-store.ts'

/** Number of threads for which a store reserves scratch memory. */
const USUAL_THREADS = 128
/** A store reserves scratch memory of at most this size. */
const MAX_IN_STORE_BYTES = MAX_ARENA_BYTES / 4
/** More texts share little more: the weights are then read in a small part of the time. */
const MAX_ROWS = 16

/** Floats for all intermediate rows of `rows` tokens, scratch memory of each thread, and small inputs. */
export function workingFloats(config: ModelConfig, threads: number, rows: number): number {
  const { width, heads, vocabulary, sequence, hidden, moe } = config
  const { queries, keys } = attentionColumns(config)
  const ofExperts = moe ? activatedExperts(moe) * moe.hidden + moe.experts + moe.sharedHidden : 0
  // The scratch memory of all threads holds scores of their heads, of which a thread has at least one, and of a router.
  const scratch =
    (2 * heads + threads) * (sequence + 2 * headWidthOf(config) + 64) + threads * (2 * (moe?.experts ?? 0) + 1024)
  // Products with quantized weights keep rows, and the rows rounded, for each thread.
  const rounded = threads * (2 * widestRow(config) + 1024)
  const each = rounded + 32 * (5 * width + queries + 2 * keys + hidden + ofExperts + 64) + 2 * vocabulary
  return paddedFloats(rows * each + scratch)
}

/** Floats of the widest row that is multiplied with a matrix. */
const widestRow = (config: ModelConfig): number => {
  const { width, hidden, moe } = config
  return Math.max(width, attentionColumns(config).queries, hidden, moe?.hidden ?? 0, moe?.sharedHidden ?? 0)
}

/** Whether a token can be decoded by itself: not with experts in attention, or a router or a layer of the user's own. */
const isDecodable = ({ moe, layer }: ModelConfig): boolean =>
  layer === null && (moe === null || (moe.attention === 'none' && moe.router !== 'own'))

/** What a decoder has memory for. */
export interface DecoderSize {
  /** Number of texts. */
  readonly texts: number
  /** Number of pages for keys and values, at least those of one whole context. */
  readonly pages: number
}

/** Some texts, each with pages for a whole context. */
export const wholeContexts = (config: ModelConfig, texts: number): DecoderSize => ({
  texts,
  pages: texts * pagesFor(config, config.sequence),
})

/** The share of some of the texts: as many of the pages, and at least those of a whole context. */
export const shareOf = (config: ModelConfig, all: DecoderSize, texts: number): DecoderSize => ({
  texts,
  pages: Math.max(pagesFor(config, config.sequence), Math.floor((all.pages * texts) / all.texts)),
})

/**
 * Numbers of texts that programs compute at once, from the largest to 1, for some texts; none if there is too little
 * room for a single row beside the matrices.
 */
export function rowsAtOnce(config: ModelConfig, threads: number, texts: number): readonly number[] {
  // Rows of x and of results of a product, of which the longest are those of the head.
  const row = widestRow(config) + Math.max(widestRow(config), Math.ceil(config.vocabulary / threads)) + 1024
  const most = Math.min(texts, MAX_ROWS, BESIDE_BYTES / (8 * row * threads))
  const sizes: number[] = []
  for (let rows = 1; rows <= most; rows *= 2) sizes.unshift(rows)
  return sizes
}

/** Bytes of a page, in all layers. */
export const pageBytes = (config: ModelConfig): number =>
  4 * 2 * config.layers * pageOf(config) * attentionColumns(config).keys

/** Memory of a decoder with at most `threads` threads, in floats. */
function memoryFloats(config: ModelConfig, threads: number, { texts, pages }: DecoderSize): number {
  const { layers, sequence, vocabulary, moe } = config
  const caches = 2 * layers * paddedFloats(pages * pageOf(config) * attentionColumns(config).keys)
  // With few threads more rows are computed at once.
  const working = rowsAtOnce(config, 1, texts).map((rows) => {
    const choices = moe ? 2 * layers * paddedFloats(rows * activatedExperts(moe)) : 0
    const numbers = 4 * paddedFloats(rows * headWidthOf(config)) + paddedFloats(rows * pagesFor(config, sequence))
    const small = paddedFloats(rows * vocabulary) + numbers + choices
    return workingFloats(config, threads, rows) + small
  })
  return caches + working.reduce((sum, floats) => sum + floats, 0)
}

/**
 * Scratch memory that a store reserves for the decoder of some texts, or of half, a quarter, ... of them if that is too
 * much, in floats; 0 if the model cannot be decoded token by token. Decoders for which it is too small allocate memory.
 * @param size Texts, each with a whole context, or also the number of their pages.
 */
export function scratchOfTexts(config: ModelConfig, size: number | DecoderSize): number {
  if (!isDecodable(config)) return 0
  const whole = typeof size === 'number' ? wholeContexts(config, size) : size
  for (let { texts } = whole; texts >= 1; texts = Math.floor(texts / 2)) {
    const floats = memoryFloats(config, USUAL_THREADS, shareOf(config, whole, texts))
    if (4 * floats <= MAX_IN_STORE_BYTES) return floats
  }
  if (whole.pages > wholeContexts(config, whole.texts).pages) return scratchOfTexts(config, whole.texts)
  return paddedFloats(1)
}

/** Scratch memory that a store reserves for one text, in floats. */
export const tokenScratch = (config: ModelConfig): number => scratchOfTexts(config, 1)

/** Memory of a decoder in an arena of its own, in floats. */
export const memoryOfDecoder = (config: ModelConfig, threads: number, size: DecoderSize): number =>
  memoryFloats(config, threads, size) +
  parameterSpecs(config)
    .filter(isCopied)
    .reduce((sum, { shape }) => sum + paddedFloats(sizeOf(shape)), 0)

/** The parameters that are copied into the memory of a program: kernels reach only matrices and tables elsewhere. */
export const isCopied = ({ shape }: ParameterSpec): boolean => shape.length === 1

/** Finds memory for a decoder; null if there is none. */
export function borrowMemory(
  runtime: Runtime,
  config: ModelConfig,
  store: ModelStore,
  size: DecoderSize,
): BorrowedScratch | null {
  if (!isDecodable(config)) return null
  const { threads } = runtime
  const inStore = store.borrowScratch(memoryFloats(config, Math.max(threads, USUAL_THREADS), size))
  if (inStore || runtime.device !== 'cpu' || store.beside.length === 0) return inStore
  return ownMemory(runtime, config, size)
}

/** Memory in an arena of its own; null if it is larger than an arena or the machine has too little. */
function ownMemory(runtime: Runtime, config: ModelConfig, size: DecoderSize): BorrowedScratch | null {
  const { threads, maxArenaBytes } = runtime
  if (rowsAtOnce(config, threads, size.texts).length === 0) return null
  const floats = memoryOfDecoder(config, threads, size)
  if (4 * floats > maxArenaBytes) return null
  try {
    const empty = { parameters: 0, gradients: 0, gradientRegions: 0, moments: 0, momentRegions: 0, beside: 0 }
    const bank = new Bank(runtime, { ...empty, scratch: floats })
    const memory = bank.borrow(floats)
    return memory && { ...memory, release: () => bank.arena.release() }
  } catch (error) {
    if (error instanceof OutOfMemory) return null
    throw error
  }
}
