/**
 * Thresholds of moments. Each rule asks for a state that lasts, and for more tokens than chance explains: a router that
 * spreads its tokens at random must have no moments at all (a test).
 */

/** Snapshots, or evaluations, in a row for which a state must hold before it counts, and for which it must be over. */
export const LASTS = 2
/** Most moments of a page. */
export const MAX_MOMENTS = 12
/** An overload begins at this multiple of the fair share, and is over below the second one. */
export const OVERLOAD = { from: 2, below: 1.5 } as const
/** Standard deviations of a random count by which an overloaded expert exceeds its share. */
export const DEVIATIONS = 4
/** An expert is dead with at most this part of its fair share, at first and in all. */
export const DEAD = 0.02
/** Tokens that a fair share would have given a dead expert in the meantime. By chance nobody gets none of 20. */
export const MISSED = 20
/** An expert has recovered at this part of its fair share. */
export const RECOVERED = 0.5
/** A drop rate is high at this multiple of the router's median, and at this rate at least. */
export const DROPS = { overMedian: 2, least: 0.1 } as const
/** Parts of the fall of the held-out loss that are milestones. */
export const MILESTONES = [0.5, 0.9] as const
/** Smallest fall of the held-out loss that has milestones, and smallest rise after its lowest value, in nats. */
export const MIN_FALL = 0.1
export const MIN_RISE = 0.02
/** A training loss jumps by this much over the median of the records before, and by so many of their deviations. */
export const JUMP = { nats: 0.3, deviations: 8, records: 25 } as const

/** The rules in words, for the page and for a reader who doubts it. */
export const ruleTexts: readonly string[] = [
  `A moment lasts for at least ${LASTS} snapshots (or evaluations) in a row. The fair share of an expert is the mean over the experts of its router at that snapshot, before drops.`,
  `Takes twice its share: at least ${OVERLOAD.from} times the fair share and ${DEVIATIONS} standard deviations of a random count above it, until it is below ${OVERLOAD.below} times.`,
  `Gets no tokens: at most ${100 * DEAD} % of the fair share, at first and in all, for so long that a fair share would have been ${MISSED} tokens.`,
  `Recovers: an expert without tokens has at least half its fair share again.`,
  `Drops: the drop rate of a layer is at least ${100 * DROPS.least} % and ${DROPS.overMedian} times its median over the run.`,
  `Held-out loss: half and nine tenths of the fall from the first evaluation to the lowest, if it fell by ${MIN_FALL} nats or more; and its lowest value, if it ends at least ${MIN_RISE} nats and 5 % of the fall above it.`,
  `Training loss: a jump of ${JUMP.nats} nats and ${JUMP.deviations} median deviations above the median of the ${JUMP.records} records before, or a loss that is not finite.`,
  `Of each kind the largest come first, one for each expert, those that begin together in a layer as one, and the kinds take turns until there are ${MAX_MOMENTS}.`,
]
