/**
 * How much of a router's choices the token alone decides, and how much its context.
 *
 * Think of each expert as a question about every token: is it chosen? The answers have an entropy H, and knowing the
 * token leaves less of it; the difference is the mutual information I. The share of a router is Σ I / Σ H over its
 * experts: 1 if every token always has the same experts, 0 if the token reveals nothing. The rest is decided by the
 * tokens before it and by its position, since a router sees nothing else. Questions about single experts give a share of 1 for any number of
 * experts per token, where the information about "the" expert of a token would not.
 *
 * Information that is estimated from counts is too large: a token that occurs once decides everything. So the mean
 * information of shuffled tokens is subtracted from both, which has a closed form (Vinh, Epps and Bailey 2010,
 * "Information theoretic measures for clusterings comparison", the adjusted mutual information).
 */
export interface TokenShares {
  /** Share of all experts together; null if no expert is chosen for some tokens only. */
  readonly share: number | null
  /** Share of each expert; null for an expert that no token chose, or all. */
  readonly ofExpert: readonly (number | null)[]
}

/**
 * @param chosen Choices by kind of token and expert [kinds, experts].
 * @param occurrences Number of occurrences of each kind.
 */
export function tokenShares(
  chosen: { readonly columns: number; readonly counts: ArrayLike<number> },
  occurrences: readonly number[],
): TokenShares {
  const { columns, counts } = chosen
  const tokens = occurrences.reduce((sum, count) => sum + count, 0)
  const multiplicity = new Map<number, number>()
  for (const count of occurrences) multiplicity.set(count, (multiplicity.get(count) ?? 0) + 1)
  let [explained, possible] = [0, 0]
  const ofExpert = Array.from({ length: columns }, (_, expert) => {
    let total = 0
    let left = 0
    for (const [kind, n] of occurrences.entries()) {
      const count = counts[kind * columns + expert] as number
      total += count
      left += (n / tokens) * entropyOf(count, n)
    }
    if (total === 0 || total === tokens) return null
    let leftByChance = 0
    for (const [n, kinds] of multiplicity) leftByChance += kinds * (n / tokens) * meanEntropy(tokens, total, n)
    explained += leftByChance - left
    possible += leftByChance
    return share(leftByChance - left, leftByChance)
  })
  return { share: share(explained, possible), ofExpert }
}

/** (I − E I) / (H − E I), where H − E I is the entropy that shuffled tokens leave. Null if they leave none. */
const share = (explained: number, possible: number): number | null => (possible > 1e-12 ? explained / possible : null)

/**
 * The mean entropy of x of n draws, where x is the number of marked balls among n drawn without replacement from
 * `total`, of which `marked` are marked (the hypergeometric distribution).
 */
function meanEntropy(total: number, marked: number, n: number): number {
  const [least, most] = [Math.max(0, n + marked - total), Math.min(n, marked)]
  const mode = Math.min(most, Math.max(least, Math.floor(((n + 1) * (marked + 1)) / (total + 2))))
  // Probabilities relative to that of the mode, outwards until they are negligible.
  let [weights, sum] = [1, entropyOf(mode, n)]
  for (let x = mode, p = 1; x < most && p > 1e-15; x++) {
    p *= ((marked - x) * (n - x)) / ((x + 1) * (total - marked - n + x + 1))
    weights += p
    sum += p * entropyOf(x + 1, n)
  }
  for (let x = mode, p = 1; x > least && p > 1e-15; x--) {
    p *= (x * (total - marked - n + x)) / ((marked - x + 1) * (n - x + 1))
    weights += p
    sum += p * entropyOf(x - 1, n)
  }
  return sum / weights
}

/** Entropy of a question that `yes` of n answers affirm, nats. */
function entropyOf(yes: number, n: number): number {
  if (yes === 0 || yes === n) return 0
  const p = yes / n
  return -p * Math.log(p) - (1 - p) * Math.log(1 - p)
}
