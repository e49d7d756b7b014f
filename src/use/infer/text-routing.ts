/** The routing of a text, for callers of the library. */
import { formatValue } from '../../core/config/problems.ts'
import { UsageError } from '../../core/errors.ts'
import type { CompiledTracer } from './compiled-tracer.ts'
import { pastedText, traceText } from './text-trace.ts'

/** The experts that the tokens of a text go to. */
export interface TextRouting {
  /** The text, token by token. */
  readonly tokens: readonly string[]
  /** Mean cross-entropy of the text, nats per token. */
  readonly loss: number
  /** Whether the text was longer than the limit, so that its end is left out. */
  readonly truncated: boolean
  readonly routers: readonly RouterChoices[]
}

/** The choices of a router. Each token has `choices` = prototypes · k numbers; numbers of a prototype are adjacent. */
export interface RouterChoices {
  /** Index of the layer, from 0. */
  readonly layer: number
  /** The module that has experts: the feed-forward network, or projections of attention. */
  readonly module: string
  readonly experts: number
  readonly choices: number
  /** [tokens · choices] ids of experts, 0 to experts − 1. */
  readonly expert: readonly number[]
  /** [tokens · choices] weights with which the outputs of the experts are added. */
  readonly gate: readonly number[]
}

/** Checks a text that a caller gave. @throws UsageError if it is not a string, or is empty */
export function expectText(text: string): void {
  if (typeof text !== 'string') throw new UsageError(`invalid text: ${formatValue(text)} (expected text)`)
  if (text === '') throw new UsageError('invalid text: it is empty (expected at least one token)')
}

export async function routingOf(compiled: CompiledTracer, text: string): Promise<TextRouting> {
  const { tokenizer } = compiled
  const place = pastedText(await tokenizer.encode(text), tokenizer)
  const { tokens, loss, cut, routers } = await traceText(compiled, place, false)
  return { tokens, loss, truncated: cut, routers }
}
