/**
 * How often two experts would be chosen for the same tokens by chance.
 *
 * With k experts a token, experts exclude each other: even a router that chooses at random has fewer pairs than
 * independent experts, n_e·n_f/T. The number by chance is that of *quasi-independence* (Goodman 1968, "The analysis of
 * cross-classified data"): m_ef = a_e·a_f for e ≠ f, where the factors give every expert its own number of partners,
 * n_e·(k − 1). For even loads every pair has the same number; an expert that every token chooses is everybody's partner,
 * with a lift of 1. Experts of different prototypes do not exclude each other, so they are independent.
 */
import type { RecordedRouter } from '../../../node/routes/format.ts'

const ROUNDS = 1000

/** Expected number of tokens that choose both experts, for the first below the second [N, N]. @param tokens T */
export function togetherByChance(
  { experts, prototypes, choices }: Pick<RecordedRouter, 'experts' | 'prototypes' | 'choices'>,
  chosen_N: ArrayLike<number>,
  tokens: number,
): Float64Array {
  const expected = new Float64Array(experts * experts)
  const size = experts / prototypes
  const factors = choices === null ? null : factorsOf(chosen_N, choices / prototypes, prototypes, size)
  for (let e = 0; e < experts; e++)
    for (let f = e + 1; f < experts; f++) {
      const isExclusive = factors !== null && Math.floor(e / size) === Math.floor(f / size)
      expected[e * experts + f] = isExclusive
        ? (factors[e] as number) * (factors[f] as number)
        : ((chosen_N[e] as number) * (chosen_N[f] as number)) / tokens
    }
  return expected
}

/** The factors a_e, by iterative proportional fitting within each prototype. */
function factorsOf(chosen_N: ArrayLike<number>, k: number, prototypes: number, size: number): Float64Array {
  const factors = new Float64Array(prototypes * size)
  for (let z = 0; z < prototypes; z++) {
    const own = factors.subarray(z * size, (z + 1) * size)
    const partners = own.map((_, i) => (chosen_N[z * size + i] as number) * (k - 1))
    const total = partners.reduce((sum, value) => sum + value, 0)
    if (total === 0) continue
    for (const [i, value] of partners.entries()) own[i] = value / Math.sqrt(total)
    for (let round = 0; round < ROUNDS; round++) {
      const sum = own.reduce((sum, value) => sum + value, 0)
      let change = 0
      const next = own.map((value, i) => {
        if (value === 0) return 0
        // The square root damps a step that changes all factors at once.
        const ratio = Math.sqrt((partners[i] as number) / (value * (sum - value)))
        change = Math.max(change, Math.abs(ratio - 1))
        return value * ratio
      })
      own.set(next)
      if (change < 1e-10) break
    }
  }
  return factors
}
