/** Sums and ratios of the measurements of ranks; nothing is measured here. */
import { median } from '../../../src/core/averages.ts'

/** Measurements of one rank over a few steps. Transferred bytes and orders are means per step. */
export interface RankSteps {
  readonly steps: readonly {
    readonly ms: number
    readonly gradientMs: number
    readonly updateMs: number
    readonly loss: number
    readonly gradNorm: number
    readonly keptShare: number
  }[]
  readonly sentBytes: number
  readonly receivedBytes: number
  /** Bytes that the network of its machine counted in both directions, headers included; 0 without a link. */
  readonly linkBytes: number
  readonly orders: number
  readonly stateBytes: number
  readonly programBytes?: number
  readonly peakBytes: number
}

/** Milliseconds of each step, which lasts as long as its slowest rank. @param turns Indexed [turns][ranks]. */
export const stepTimes = (turns: readonly (readonly RankSteps[])[]): number[] =>
  turns.flatMap((ranks) =>
    (ranks[0]?.steps ?? []).map((_, step) => Math.max(...ranks.map(({ steps }) => steps[step]?.ms ?? Number.NaN))),
  )

/** Losses and norms of all steps: equal text means equal bits. */
export const lossesOf = (turns: readonly (readonly RankSteps[])[]): string =>
  JSON.stringify(turns.map(([first]) => first?.steps.map(({ loss, gradNorm }) => [loss, gradNorm])))

export interface Transfers {
  /** Bytes per step of the rank that sends or receives the most in one direction. */
  readonly busiestBytes: number
  /** Time that the link of this rank needs for these bytes at its rate, both directions at once. */
  readonly wireMs: number
  /** Bytes that links counted, divided by the bytes that ranks sent and received; 0 without a link. */
  readonly counted: number
}

/** @param rate Bits a second in each direction. */
export function transfersOf(ranks: readonly RankSteps[], rate: number): Transfers {
  const busiestBytes = Math.max(...ranks.flatMap(({ sentBytes, receivedBytes }) => [sentBytes, receivedBytes]))
  const sum = (of: (rank: RankSteps) => number) => ranks.reduce((total, rank) => total + of(rank), 0)
  const payload = sum(({ sentBytes, receivedBytes }) => sentBytes + receivedBytes)
  return {
    busiestBytes,
    wireMs: (8000 * busiestBytes) / rate,
    counted: payload === 0 ? 0 : sum(({ linkBytes }) => linkBytes) / payload,
  }
}

export interface Exposure {
  readonly linkMs: number
  readonly computeMs: number
  /** Time that the link adds to a step. */
  readonly exposedMs: number
  /** Share of the wire's minimum time that a step does not wait for; negative if it waits for longer than that time. */
  readonly hidden: number
}

export function exposureOf(linkTimes: readonly number[], localTimes: readonly number[], wireMs: number): Exposure {
  const [linkMs, computeMs] = [median(linkTimes), median(localTimes)]
  const exposedMs = linkMs - computeMs
  return { linkMs, computeMs, exposedMs, hidden: 1 - exposedMs / wireMs }
}

/** The largest value of all ranks, for each kind of memory. */
export function memoryOf(ranks: readonly RankSteps[]): {
  readonly stateBytes: number
  readonly programBytes: number
  readonly peakBytes: number
} {
  const most = (of: (rank: RankSteps) => number) => Math.max(...ranks.map(of))
  return {
    stateBytes: most(({ stateBytes }) => stateBytes),
    programBytes: most(({ programBytes = 0 }) => programBytes),
    peakBytes: most(({ peakBytes }) => peakBytes),
  }
}

/** How many times faster the second is, by medians of step times. */
export const ratio = (first: readonly number[], second: readonly number[]): number => median(first) / median(second)
