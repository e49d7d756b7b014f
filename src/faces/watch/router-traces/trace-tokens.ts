/**
 * The tokens of one step of a router trace. Each rank records its own tokens: ranks that share a layer hold different
 * tokens, which are concatenated in the order of the files; ranks of other pipeline stages hold other layers of the
 * same tokens. A trace has no text, so tokens are identified by position.
 */
import type { RouterInfo, TokenRouter, TokenTrace } from '../api.ts'
import type { TraceRecord } from './trace-record.ts'

const MAX_TOKENS = 4096
const MAX_CHOICES = 4_000_000

export function recordedTokens(
  run: string,
  step: number,
  routers: readonly RouterInfo[],
  records: readonly TraceRecord[],
): TokenTrace {
  const chosen = routers.map(({ layer, module }) =>
    records.filter((record) => record.layer === layer && record.module === module).flatMap((record) => record.chosen),
  )
  const counts = chosen.map(({ length }) => length).filter((count) => count > 0)
  // If ranks stopped within a step, only tokens that every router has seen are shown.
  const all = counts.length > 0 ? Math.min(...counts) : 0
  const choices = chosen.reduce((sum, tokens) => sum + maxChoices(tokens), 0)
  // Rows are padded to the longest, so one token with very many choices would widen all of them.
  const tokens = Math.min(all, MAX_TOKENS, Math.floor(MAX_CHOICES / Math.max(1, choices)))
  return {
    run,
    step,
    loss: null,
    tokens: Array.from({ length: tokens }, () => ''),
    cut: all > tokens,
    routers: routers.flatMap((router, index) => ofRouter(router, (chosen[index] ?? []).slice(0, tokens))),
  }
}

/** The choices of the tokens by one router; empty if this step does not have the router. */
function ofRouter(router: RouterInfo, chosen: readonly (readonly number[])[]): TokenRouter[] {
  const choices = maxChoices(chosen)
  if (choices === 0) return []
  const expert = chosen.flatMap((experts) => Array.from({ length: choices }, (_, choice) => experts[choice] ?? -1))
  return [{ ...router, choices, expert, gate: null }]
}

const maxChoices = (chosen: readonly (readonly number[])[]): number =>
  chosen.reduce((max, { length }) => Math.max(max, length), 0)
