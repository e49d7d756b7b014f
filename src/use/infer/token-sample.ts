/** Collects the assignments of every router over a sample of text, stored as columns. */
import type { BatchTrace } from './routing-tracer.ts'

/** Token id and expert of each assignment of a router, in no particular order. */
interface Assignments {
  readonly token: number[]
  readonly expert: number[]
}

export interface SampledAssignments {
  /** Number of tokens in the sample. */
  readonly looked: number
  /** How often each token id occurs. */
  readonly occurrences: ReadonlyMap<number, number>
  readonly routers: readonly Assignments[]
}

export async function sampledAssignments(batches: AsyncIterable<BatchTrace>): Promise<SampledAssignments> {
  const occurrences = new Map<number, number>()
  const routers: Assignments[] = []
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
