/** Memory for the contexts of texts: as few decoders as possible, or a message that says how many contexts fit. */
import { option, UsageError, wording } from '../../../core/errors.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { pagesFor } from '../../../core/model/kv-cache.ts'
import { bytes, grouped } from '../../../core/text/numbers.ts'
import { stagedBytes } from './staged-rows.ts'
import { TokenDecoder } from './token-decoder.ts'
import { type DecoderSize, memoryOfDecoder, pageBytes, scratchOfTexts, shareOf, wholeContexts } from './token-memory.ts'
import type { TokenProgram } from './token-program.ts'

/**
 * The texts of a model, and the pages for their keys and values.
 * @param contextBytes Memory for the pages; default: a whole context for each text.
 * @throws UsageError if it is too small for one whole context
 */
export function sizeOfTexts(config: ModelConfig, texts: number, contextBytes?: number): DecoderSize {
  const whole = wholeContexts(config, texts)
  if (contextBytes === undefined) return whole
  const each = pageBytes(config)
  const one = pagesFor(config, config.sequence)
  if (contextBytes < one * each)
    throw new UsageError(
      wording`invalid ${option('contextMemory')}: ${bytes(contextBytes)} (expected at least ${bytes(one * each)}, for a whole context of ${grouped(config.sequence)} tokens)`,
    )
  // More pages than all texts can use would keep more prompts; so they are not cut.
  return { texts, pages: Math.floor(contextBytes / each) }
}

/**
 * Decoders with memory for some texts together: one if its memory fits in an arena, else as few as possible; none if the
 * model cannot be decoded token by token.
 * @throws UsageError if there is memory for some of the texts only
 */
export function openDecoders(program: TokenProgram, size: DecoderSize): TokenDecoder[] {
  const { runtime, config, store } = program
  const { memoryBytes = Number.POSITIVE_INFINITY, threads } = runtime
  const weights = store.byteLength - 4 * scratchOfTexts(config, size)
  const free = memoryBytes - weights - stagedBytes(config)
  if (4 * memoryOfDecoder(config, threads, size) > free && size.pages > pagesFor(config, config.sequence))
    throw tooMany(program, size, free)
  const decoders: TokenDecoder[] = []
  let opened = 0
  for (let texts = size.texts; opened < size.texts && texts > 0; ) {
    const decoder = TokenDecoder.open(program, shareOf(config, size, texts))
    if (decoder) {
      decoders.push(decoder)
      opened += texts
      texts = Math.min(texts, size.texts - opened)
    } else texts = Math.floor(texts / 2)
  }
  const whole = wholeContexts(config, size.texts)
  // Pages beyond whole contexts only keep more prompts. If no arena has room for them, whole contexts are enough.
  if (opened === 0 && size.pages > whole.pages) return openDecoders(program, whole)
  if (opened === size.texts || opened === 0) return decoders
  for (const decoder of decoders.reverse()) decoder.release()
  throw tooMany(program, size, opened * 4 * memoryOfDecoder(config, threads, wholeContexts(config, 1)))
}

/** @param free Memory for texts, in bytes. */
function tooMany({ config, runtime }: TokenProgram, { texts, pages }: DecoderSize, free: number): UsageError {
  const whole = wholeContexts(config, texts)
  if (pages !== whole.pages)
    return new UsageError(
      wording`invalid ${option('contextMemory')}: ${bytes(pages * pageBytes(config))} (beside the weights there is memory for ${bytes(Math.max(0, free))})`,
    )
  const each = 4 * memoryOfDecoder(config, runtime.threads, wholeContexts(config, 1))
  const most = Math.max(1, Math.floor(free / each))
  return new UsageError(
    wording`invalid ${option('streams')}: ${texts} (each takes ${bytes(each)} for its context, and beside the weights there is memory for ${grouped(most)}; with ${option('contextMemory')} they share memory by pages)`,
  )
}
