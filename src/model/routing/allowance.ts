/**
 * How the C places of an expert come in along the positions of a sequence, for `priority: position`.
 *
 * Think of each rank of choices at each expert as a purse. The expert earns places at a steady rate, position by
 * position. First choices are paid out of them at once; what they leave is saved, up to the load of so many
 * positions, so that a crowded position can be paid out of quiet ones before it. What the purse cannot hold goes to
 * second choices at the next position, what theirs cannot hold to third ones, and so on. (A token bucket, as in the
 * shaping of network traffic, whose overflow fills the next bucket.) All here is known before a program runs.
 */

/** What the allowance depends on. */
export interface AllowanceShape {
  /** Positions S of a sequence. */
  readonly sequence: number
  /** Sequences of a group of tokens, B. */
  readonly sequences: number
  readonly experts: number
  /** Choices K of a token, over all prototypes. */
  readonly choices: number
  /** Places C of an expert in a group. */
  readonly capacity: number
  /** Positions of whose even load a purse holds the places, w; more than S counts as S. */
  readonly window: number
}

export interface Allowance {
  /** Places that an expert earns at each position [S, N]. */
  readonly earned_SN: Int32Array
  /** Most places that a purse holds from one position to the next: D = max(1, P). */
  readonly most: number
  /** Places in the purse of each rank before the first position [K]. */
  readonly start_K: readonly number[]
}

/**
 * An even load has B/N choices of each rank for an expert at a position; P = ⌊w·B/N⌋ of w positions. It fills the
 * purses of n = min(K, ⌊C·N / (S·B)⌋) ranks. They begin with P places each, as if such a load had come before; the last rank's
 * with ⌊P/2⌋, whose overflow nobody waits for; the others empty. The rest, F ≥ 0, is earned evenly over S positions,
 * ⌊F·s/S + e/N⌋ in the first s: experts round up at different positions. So the places of an expert sum to C, and as
 * each is paid out once at most, none serves more.
 */
export function allowanceOf({ sequence, sequences, experts, choices, capacity, window }: AllowanceShape): Allowance {
  const evenLoad = Math.floor((Math.min(window, sequence) * sequences) / experts)
  const full = Math.min(choices, Math.floor((capacity * experts) / (sequence * sequences)))
  const start_K = Array.from({ length: choices }, (_, rank) => {
    if (rank >= full) return 0
    return rank < choices - 1 ? evenLoad : Math.floor(evenLoad / 2)
  })
  const rest = start_K.reduce((left, places) => left - places, capacity)
  const until = (s: number, e: number) => Math.floor((rest * s * experts + e * sequence) / (sequence * experts))
  return {
    earned_SN: Int32Array.from({ length: sequence * experts }, (_, i) => {
      const [s, e] = [Math.floor(i / experts), i % experts]
      return until(s + 1, e) - until(s, e)
    }),
    most: Math.max(1, evenLoad),
    start_K,
  }
}

/**
 * The order in which the tokens of a group are served [S·B]: by position, and at one position each sequence in turn.
 * The turn moves on by one with every position, and by one more every B positions: else a sequence could be late
 * wherever an expert earns a place less.
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
