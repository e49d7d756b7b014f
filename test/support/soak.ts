/**
 * `npm run soak` (test/soak/soak.ts) runs random tests with many more cases than the suite. Its settings, and the file
 * that counts cases, are passed in the environment, since each test file is a process of its own.
 */
import { appendFileSync } from 'node:fs'

export const attempts = ['kill', 'signal', 'pause', 'full disk', 'input', 'request'] as const
export type Attempt = (typeof attempts)[number]

/** Number of cases for each case of the suite. */
const factors = {
  input: Number(process.env.CHOIR_SOAK_INPUTS ?? 1),
  request: Number(process.env.CHOIR_SOAK_REQUESTS ?? 1),
}

/** Adds to the counts of a soak; does nothing in the suite. */
export function count(attempt: Attempt, cases = 1): void {
  const file = process.env.CHOIR_SOAK_COUNTS
  if (file !== undefined) appendFileSync(file, `${attempt},${cases}\n`)
}

/** Parameters of a fast-check property that the suite checks with `cases` cases; counts the cases. */
export function runs(cases: number, attempt: 'input' | 'request' = 'input'): { readonly numRuns: number } {
  const numRuns = Math.ceil(cases * factors[attempt])
  count(attempt, numRuns)
  return { numRuns }
}

/** Time limit of a random test in ms. */
export const fuzzTimeout = 120_000 * Math.max(factors.input, factors.request)
