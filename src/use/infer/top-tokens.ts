/**
 * Ranks the tokens of an expert by frequency, and by how typical they are of the expert.
 *
 * A token is typical of an expert that gets more of its occurrences than usual. A plain ratio would rank rare tokens
 * first, where one occurrence decides, and a plain count the most common tokens. The score is the log-odds
 * ratio against the router's other experts, with an informative Dirichlet prior, over its standard error (Monroe,
 * Colaresi and Quinn, "Fightin' Words", 2008, eq. 15, 16, 18, 22): the prior pulls rare tokens towards the usual
 * share, and the standard error accounts for evidence.
 */
import { columnSums, rowSums, type Table } from './information.ts'
import type { BatchTrace } from './routing-tracer.ts'

export interface TokenShare {
  /** Row of the token in the table. */
  readonly token: number
  /** Number of occurrences that the expert computed. */
  readonly count: number
  /** Standard score of the log-odds ratio; above 2 is significant for a single token. */
  readonly score: number
}

/** Minimum score of a listed token: the 5 % level of a single one-sided test. */
const MIN_SCORE = 1.645

/**
 * Lists at most `limit` tokens with the highest scores for each expert (column) of a table of kept choices by token.
 * The prior has one occurrence per distinct token, distributed over tokens as in the text.
 */
export function typicalTokens(table: Table, limit: number): TokenShare[][] {
  const { rows, columns, counts } = table
  const ofToken = rowSums(table)
  const ofExpert = columnSums(table)
  const total = ofExpert.reduce((sum, count) => sum + count, 0)
  const prior = ofToken.reduce((distinct, count) => distinct + (count > 0 ? 1 : 0), 0)
  return Array.from(ofExpert, (expertTotal, expert) => {
    const shares: TokenShare[] = []
    for (let token = 0; token < rows; token++) {
      const count = counts[token * columns + expert] as number
      if (count === 0) continue
      const usual = (prior * (ofToken[token] as number)) / total
      const here = count + usual
      const elsewhere = (ofToken[token] as number) - count + usual
      const ratio =
        Math.log(here / (expertTotal + prior - here)) - Math.log(elsewhere / (total - expertTotal + prior - elsewhere))
      const score = ratio / Math.sqrt(1 / here + 1 / elsewhere)
      if (score >= MIN_SCORE) shares.push({ token, count, score })
    }
    return shares.sort((a, b) => b.score - a.score || a.token - b.token).slice(0, limit)
  })
}

export interface FrequentTokens {
  /** Number of tokens in the sample. */
  readonly looked: number
  /** Number of assignments of these tokens to the expert. */
  readonly assigned: number
  /**
   * The tokens, the most frequent first. `share` is the share of the token's occurrences that went to this expert.
   * `lift` is this share over the same share of all tokens; 1 means no preference, for any number of experts per token.
   */
  readonly tokens: readonly {
    readonly token: string
    readonly count: number
    readonly share: number
    readonly lift: number
  }[]
}

/** The most frequent tokens of an expert. @param show Returns the text of a token id. */
export function frequentTokens(
  { looked, occurrences, routers }: SampledAssignments,
  { router, expert }: { readonly router: number; readonly expert: number },
  limit: number,
  show: (token: number) => string,
): FrequentTokens {
  const counts = new Map<number, number>()
  let assigned = 0
  const { token: tokens, expert: experts } = routers[router] ?? { token: [], expert: [] }
  for (const [i, chosen] of experts.entries()) {
    if (chosen !== expert) continue
    assigned++
    const token = tokens[i] as number
    counts.set(token, (counts.get(token) ?? 0) + 1)
  }
  const first = [...counts].sort(([a, countA], [b, countB]) => countB - countA || a - b).slice(0, limit)
  return {
    looked,
    assigned,
    tokens: first.map(([token, count]) => {
      const share = count / (occurrences.get(token) as number)
      return { token: show(token), count, share, lift: share / (assigned / looked) }
    }),
  }
}

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

/** Collects the assignments of every router over a sample of text. */
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
