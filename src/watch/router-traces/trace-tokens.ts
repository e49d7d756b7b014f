/**
 * The tokens of one step of a router trace. Ranks record a router each for themselves: those that share a layer hold
 * different tokens, which are put one behind the other in the order of the files; those of other pipeline stages hold
 * other layers of the same tokens. A trace has no text, so a token is its place.
 */
import type { RouterInfo, TokenRouter, TokenTrace } from '../api.ts'
import type { TraceRecord } from './trace-record.ts'

/** Tokens and their choices to show at most. */
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
  // Where ranks ended in the midst of a step, tokens are those that every router has seen.
  const all = counts.length > 0 ? Math.min(...counts) : 0
  const choices = chosen.reduce((sum, tokens) => sum + mostChoices(tokens), 0)
  // A token of very many choices would give as many to every other.
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

/** Nothing for a router that this step does not have. */
function ofRouter(router: RouterInfo, chosen: readonly (readonly number[])[]): TokenRouter[] {
  const choices = mostChoices(chosen)
  if (choices === 0) return []
  const expert = chosen.flatMap((experts) => Array.from({ length: choices }, (_, choice) => experts[choice] ?? -1))
  return [{ ...router, choices, expert, gate: null }]
}

const mostChoices = (chosen: readonly (readonly number[])[]): number =>
  chosen.reduce((most, { length }) => Math.max(most, length), 0)
