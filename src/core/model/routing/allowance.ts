/**
 * How the C places of an expert become available along the positions of a sequence, for `priority: position`.
 *
 * Think of a token bucket, as in the shaping of network traffic, for each expert and each rank of choices. An expert
 * earns places at a steady rate, position by position. First choices use them at once. Unused places are saved, up to
 * the load of `window` positions, so that a crowded position can use the places of quiet ones before it. Places that
 * do not fit into the bucket go to second choices at the next position, their overflow to third choices, and so on.
 * All of this is computed before a program runs.
 */

export interface AllowanceShape {
  /** Positions S of a sequence. */
  readonly sequence: number
  /** Sequences B in a group of tokens. */
  readonly sequences: number
  readonly experts: number
  /** Choices K of a token, over all prototypes. */
  readonly choices: number
  /** Places C of an expert in a group. */
  readonly capacity: number
  /** Number of positions w whose even load a bucket can hold; more than S counts as S. */
  readonly window: number
}

export interface Allowance {
  /** Places that an expert earns at each position [S, N]. */
  readonly earned_SN: Int32Array
  /** Largest number of places that a bucket carries from one position to the next: D = max(1, P). */
  readonly maxSaved: number
  /** Places in the bucket of each rank before the first position [K]. */
  readonly start_K: readonly number[]
}

/**
 * With an even load, an expert gets B/N choices of each rank at a position, and P = ⌊w·B/N⌋ in w positions. The
 * capacity covers such a load for n = min(K, ⌊C·N / (S·B)⌋) ranks. Their buckets begin with P places each, as if such
 * a load had come before. The bucket of the last rank begins with ⌊P/2⌋, because its overflow is lost. The other
 * buckets begin empty. The remaining F ≥ 0 places are earned evenly over the S positions, ⌊F·s/S + e/N⌋ in the first s,
 * so that experts round up at different positions. The places of an expert sum to C and each is used at most once, so
 * no expert serves more than C choices.
 */
export function allowanceOf({ sequence, sequences, experts, choices, capacity, window }: AllowanceShape): Allowance {
  const evenLoad = Math.floor((Math.min(window, sequence) * sequences) / experts)
  const covered = Math.min(choices, Math.floor((capacity * experts) / (sequence * sequences)))
  const start_K = Array.from({ length: choices }, (_, rank) => {
    if (rank >= covered) return 0
    return rank < choices - 1 ? evenLoad : Math.floor(evenLoad / 2)
  })
  const remaining = start_K.reduce((left, places) => left - places, capacity)
  const earnedBefore = (s: number, e: number) =>
    Math.floor((remaining * s * experts + e * sequence) / (sequence * experts))
  return {
    earned_SN: Int32Array.from({ length: sequence * experts }, (_, i) => {
      const [s, e] = [Math.floor(i / experts), i % experts]
      return earnedBefore(s + 1, e) - earnedBefore(s, e)
    }),
    maxSaved: Math.max(1, evenLoad),
    start_K,
  }
}

/**
 * The order in which the tokens of a group are served [S·B]: by position, and within a position one sequence after
 * another. The sequence that starts moves by one with every position, and by one more every B positions. Otherwise the
 * same sequence could be last at every position where an expert earns one place less.
 */
export function serviceOrder(sequences: number, sequence: number): Int32Array {
  const order = new Int32Array(sequences * sequence)
  for (let s = 0; s < sequence; s++)
    for (let b = 0; b < sequences; b++) {
      const turn = (b + s + Math.floor(s / sequences)) % sequences
      order[s * sequences + turn] = b * sequence + s
    }
  return order
}
