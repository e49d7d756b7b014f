/**
 * Who gets which tokens: the assignments of every router over a sample of text, kept as columns, and for an expert
 * the tokens that come to it most often.
 */
import type { BatchTrace } from '../../infer/routing-tracer.ts'
import type { TopTokens } from '../api.ts'

/** A router's assignments in no order: token id and expert of each. */
interface Assigned {
  readonly token: number[]
  readonly expert: number[]
}

export interface SampledAssignments {
  /** Tokens looked at. */
  readonly looked: number
  /** How often each token id occurs. */
  readonly occurrences: ReadonlyMap<number, number>
  readonly routers: readonly Assigned[]
}

export async function sampledAssignments(batches: AsyncIterable<BatchTrace>): Promise<SampledAssignments> {
  const occurrences = new Map<number, number>()
  const routers: Assigned[] = []
  let looked = 0
  for await (const { token_T, document_T, routers: traced } of batches)
    for (const [t, token] of token_T.entries()) {
      if ((document_T[t] as number) < 0) continue
      looked++
      occurrences.set(token, (occurrences.get(token) ?? 0) + 1)
      for (const [r, { expert_TK }] of traced.entries()) {
        const choices = expert_TK.length / token_T.length
        routers[r] ??= { token: [], expert: [] }
        for (let i = t * choices; i < (t + 1) * choices; i++) {
          routers[r].token.push(token)
          routers[r].expert.push(expert_TK[i] as number)
        }
      }
    }
  return { looked, occurrences, routers }
}

/** The tokens of an expert, most often first. @param show Text of a token id. */
export function topTokens(
  { looked, occurrences, routers }: SampledAssignments,
  place: { readonly router: number; readonly expert: number },
  most: number,
  show: (token: number) => string,
): Omit<TopTokens, 'step'> {
  const counts = new Map<number, number>()
  let assigned = 0
  const { token: tokens, expert: experts } = routers[place.router] ?? { token: [], expert: [] }
  for (const [i, expert] of experts.entries()) {
    if (expert !== place.expert) continue
    assigned++
    const token = tokens[i] as number
    counts.set(token, (counts.get(token) ?? 0) + 1)
  }
  const first = [...counts].sort(([a, countA], [b, countB]) => countB - countA || a - b).slice(0, most)
  return {
    looked,
    assigned,
    tokens: first.map(([token, count]) => {
      const share = count / (occurrences.get(token) as number)
      return { token: show(token), count, share, lift: share / (assigned / looked) }
    }),
  }
}
