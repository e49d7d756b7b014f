/**
 * The tokens of an expert, ranked in two ways: those that come to it most often, and those that are typical of it.
 *
 * Typical tokens are those that an expert takes above their usual share. A plain ratio ranks rare tokens first, where one occurrence decides, and a plain count the most common
 * ones. The measure is the log-odds ratio against the router's other experts, with an informative
 * Dirichlet prior, over its standard error (Monroe, Colaresi and Quinn, "Fightin' Words", 2008, eq. 15,
 * 16, 18, 22): the prior pulls rare tokens to the usual share, the standard error asks for evidence.
 */
import { columnSums, rowSums, type Table } from './information.ts'
import type { SampledAssignments } from './token-sample.ts'

export interface TokenShare {
  /** Row of the table. */
  readonly token: number
  /** Occurrences that the expert computed. */
  readonly count: number
  /** Standard score of the log-odds ratio: above 2 is no accident, for one token. */
  readonly score: number
}

/** The least score to be listed: 5 % one-sided, of a single test. */
const MIN_SCORE = 1.645

/**
 * For each expert (column) of a table of kept choices by token, the `most` tokens with the highest score.
 * A prior of one occurrence for each distinct token is spread over the tokens as the text is.
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
  /** Tokens looked at. */
  readonly looked: number
  /** Assignments to the expert among them. */
  readonly assigned: number
  /**
   * Most often first. `share`: of all occurrences of the token, how many came to this expert; `lift`: that share over
   * the share of all tokens that came to it, so that 1 says nothing, however many experts a token goes to.
   */
  readonly tokens: readonly {
    readonly token: string
    readonly count: number
    readonly share: number
    readonly lift: number
  }[]
}

/** The tokens of an expert, most often first. @param show Text of a token id. */
export function frequentTokens(
  { looked, occurrences, routers }: SampledAssignments,
  place: { readonly router: number; readonly expert: number },
  most: number,
  show: (token: number) => string,
): FrequentTokens {
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
