/**
 * Published findings on where experts begin to pay, for sizes that no law of ours covers. Each states how it was read:
 * `text` means in the paper, `abstract` only in its abstract.
 */
import type { Coefficients, Point } from './joint-law.ts'

/**
 * Table 3 of Ludziejewski et al. 2025 (arXiv 2502.05172). It was read in the paper's text and checked against its table
 * 4, which has the same law for each number of experts. N counts the embedding and the output head. A token uses one
 * expert, which is as large as the dense network. The text is FineWeb-Edu with the vocabulary of GPT-2.
 */
export const publishedLaw: Coefficients = {
  a: 35.91,
  alpha: -0.1889,
  delta: -0.2285,
  gamma: 0.0098,
  b: 35.98,
  beta: -0.1775,
  omega: 0.5529,
  zeta: -0.0259,
  c: 1.3637,
  start: 2.0732,
  max: 290.4521,
  kappa: 0,
  nu: 0,
  onset: 1,
  share: null,
}

/** Range of the runs that the published law was fitted to (appendix E). Beyond it, the law is an extrapolation. */
const publishedRange = { active: [79e6, 2.7e9], tokens: [0.5e9, 80e9], experts: [1, 32] } as const

export const publishedLawCovers = (point: Point): boolean =>
  (['active', 'tokens', 'experts'] as const).every((axis) => {
    const [low, high] = publishedRange[axis]
    return point[axis] >= low && point[axis] <= high
  })

export interface Citation {
  readonly source: string
  readonly finding: string
  readonly read: 'text' | 'abstract'
}

export const citations: readonly Citation[] = [
  {
    source: 'Ludziejewski et al. 2025, arXiv 2502.05172',
    finding:
      'a joint law over 280 runs of 79 M to 2.7 B active parameters and 0.5 to 80 B tokens: the gain of experts grows with ' +
      'tokens, and a compute-optimal model has fewer active parameters and more tokens the more experts it has',
    read: 'text',
  },
  {
    source: 'Clark et al. 2022, arXiv 2202.01169',
    finding: 'loss follows a law of model size and number of experts over five orders of magnitude of size',
    read: 'abstract',
  },
]
