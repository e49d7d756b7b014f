/** Memory for the contexts of texts: as few decoders as possible, or a message that says how many contexts fit. */
import { option, UsageError, wording } from '../../../core/errors.ts'
import { bytes, grouped } from '../../../core/text/numbers.ts'
import { TokenDecoder } from './token-decoder.ts'
import { memoryOfContexts, scratchOfTexts } from './token-memory.ts'
import type { TokenProgram } from './token-program.ts'

/**
 * Decoders with `count` contexts together: one if its memory fits in an arena, else as few as possible; none if the
 * model cannot be decoded token by token.
 * @throws UsageError if only some of the contexts have memory
 */
export function openDecoders(program: TokenProgram, count: number): TokenDecoder[] {
  const { runtime, config, store } = program
  const { memoryBytes = Number.POSITIVE_INFINITY, threads } = runtime
  const each = 4 * memoryOfContexts(config, threads, 1)
  const weights = store.byteLength - 4 * scratchOfTexts(config, count)
  const most = Math.max(1, Math.floor((memoryBytes - weights) / each))
  if (count > most) throw tooMany(count, each, most)
  const decoders: TokenDecoder[] = []
  let opened = 0
  for (let size = count; opened < count && size > 0; ) {
    const decoder = TokenDecoder.open(program, size)
    if (decoder) {
      decoders.push(decoder)
      opened += size
      size = Math.min(size, count - opened)
    } else size = Math.floor(size / 2)
  }
  if (opened === count || opened === 0) return decoders
  for (const decoder of decoders.reverse()) decoder.release()
  throw tooMany(count, each, opened)
}

const tooMany = (count: number, each: number, most: number): UsageError =>
  new UsageError(
    wording`invalid ${option('streams')}: ${count} (each takes ${bytes(each)} for its context, and beside the weights there is memory for ${grouped(most)})`,
  )
