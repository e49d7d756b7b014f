/**
 * Computes where the time of a step goes on each rank, from the moments at which ranks come to their exchanges.
 *
 * Every exchange is one of a sequence that is the same on all its ranks: orders for the rows of experts within an
 * expert group, then meetings of all ranks (gradients, gathered statistics, parameters). A rank that is blocked in an
 * exchange *waits* until the last rank has come to it; from then on, data is on its way.
 *
 * Ranks have clocks of their own, which the meetings compare: all ranks leave a meeting at about the same time, and no
 * rank leaves an exchange before the others have come to it. So the waiting in an exchange is exact up to about the
 * time that a short message takes.
 */

import { median } from '../../../core/averages.ts'
import type { LoggedOrder, OrderLog } from '../../../engine/contract/order-log.ts'
import type { Interval, Timeline } from '../metrics/timeline.ts'

/** A rank's own step. Times are in ms from its begin. */
export interface OwnStep {
  readonly ms: number
  /** Time blocked for parameters of other ranks that a program reads. */
  readonly arrivalMs: number
  readonly orders: readonly LoggedOrder[]
  readonly meetings: readonly Interval[]
}

/** The exchanges of the last step, with times from its begin. @param origin The begin, in ms since the epoch. */
export function exchangesOfStep(
  origin: number,
  log: OrderLog | null | undefined,
  timeline: Timeline,
): Pick<OwnStep, 'orders' | 'meetings'> {
  const orders = (log?.read() ?? []).map((order) => {
    const { posted, begin, end } = order
    return { ...order, posted: posted - origin, begin: begin - origin, end: end - origin }
  })
  return { orders, meetings: timeline.meetings.map(({ begin, end }) => ({ begin: begin - origin, end: end - origin })) }
}

/** Times of a step by rank, ms. The first four add up to the step. */
export interface RankTimes {
  /** Time of everything but the following. */
  readonly compute: number[]
  /** Time blocked for rows or results of experts that are on their way. */
  readonly allToAll: number[]
  /**
   * Time blocked for parameters on their way, and in the sum of gradients and in gathers, after all ranks have come.
   */
  readonly allReduce: number[]
  /** Time blocked before the last rank has come. */
  readonly wait: number[]
  /** Mean over the other ranks of the time that they wait for this one. */
  readonly waitedFor: number[]
  /** Time of the whole step. */
  readonly step: number[]
}

/** The numbers of a step, to be gathered: every rank of a training has equally many. */
export function packStep({ ms, arrivalMs, orders, meetings }: OwnStep, withBytes: boolean): Float64Array {
  return Float64Array.from([
    ms,
    arrivalMs,
    orders.length,
    ...orders.flatMap(({ posted, begin, end, sentBytes }) => [posted, begin, end, ...(withBytes ? sentBytes : [])]),
    ...meetings.flatMap(({ begin, end }) => [begin, end]),
  ])
}

/**
 * The inverse of {@link packStep}, without stages.
 * @param ranks Number of ranks of a group if bytes are included, else 0.
 */
export function unpackStep(numbers: Float64Array, ranks: number): OwnStep {
  const [ms = 0, arrivalMs = 0, count = 0] = numbers
  const size = 3 + ranks
  const header = 3
  const orders = Array.from({ length: count }, (_, i): LoggedOrder => {
    const start = header + i * size
    const at = (field: number): number => numbers[start + field] as number
    const sentBytes = ranks > 0 ? [...numbers.subarray(start + 3, start + size)] : []
    return { stage: -1, posted: at(0), begin: at(1), end: at(2), sentBytes }
  })
  const rest = numbers.subarray(header + count * size)
  const meetings = Array.from({ length: rest.length / 2 }, (_, i): Interval => {
    return { begin: rest[2 * i] as number, end: rest[2 * i + 1] as number }
  })
  return { ms, arrivalMs, orders, meetings }
}

/** A rank in an exchange: when it came, and from when to when it was blocked, in ms on its own clock. */
interface Arrival extends Interval {
  readonly at: number
}

/** @param steps The same step, by rank. @param expert Number of ranks that share the experts of a layer. */
export function rankTimes(steps: readonly OwnStep[], expert: number): RankTimes {
  const zeroes = () => steps.map(() => 0)
  const [allToAll, allReduce, wait, waitedFor, blocked] = [zeroes(), zeroes(), zeroes(), zeroes(), zeroes()]
  const add = (to: number[], rank: number, ms: number): void => {
    to[rank] = (to[rank] as number) + ms
  }
  steps.forEach(({ arrivalMs }, rank) => {
    add(allReduce, rank, arrivalMs)
    add(blocked, rank, arrivalMs)
  })
  const arrivals = steps.map(arrivalsOf)
  const ahead = clocksAhead(arrivals, steps, expert)
  const of = (rank: number, i: number): Arrival => arrivals[rank]?.[i] as Arrival
  /** @param causeOf The rank for which the last one to come was late. */
  const count = (i: number, ranks: readonly number[], kind: number[], causeOf: (last: number) => number): void => {
    const came = (rank: number): number => of(rank, i).at - (ahead[rank] as number)
    const last = largest(ranks, came)
    const arrived = came(last)
    const cause = causeOf(last)
    for (const rank of ranks) {
      const { begin, end } = of(rank, i)
      const waited = Math.min(Math.max(arrived + (ahead[rank] as number) - begin, 0), end - begin)
      add(wait, rank, waited)
      add(kind, rank, end - begin - waited)
      add(blocked, rank, end - begin)
      if (rank !== cause) add(waitedFor, cause, waited / (steps.length - 1))
    }
  }
  const all = steps.map((_, rank) => rank)
  const groups = all.filter((rank) => rank % expert === 0).map((first) => all.slice(first, first + expert))
  const { orders, meetings } = steps[0] as OwnStep
  for (let i = 0; i < orders.length + meetings.length; i++) {
    if (i < orders.length) for (const group of groups) count(i, group, allToAll, (last) => last)
    else {
      // A group comes together, because its ranks wait for the slowest of them in every layer.
      const busy = (rank: number) => of(rank, i).at - (ahead[rank] as number) - (blocked[rank] as number)
      count(i, all, allReduce, (last) => largest(groups[Math.floor(last / expert)] as number[], busy))
    }
  }
  const step = steps.map(({ ms }) => ms)
  const compute = step.map((ms, rank) => Math.max(0, ms - (blocked[rank] as number)))
  return { compute, allToAll, allReduce, wait, waitedFor, step }
}

const arrivalsOf = ({ orders, meetings }: OwnStep): Arrival[] => [
  ...orders.map(({ posted: at, begin, end }) => ({ at, begin, end })),
  ...meetings.map(({ begin, end }) => ({ at: begin, begin, end })),
]

const largest = (ranks: readonly number[], of: (rank: number) => number): number => {
  let [found, most] = [ranks[0] as number, Number.NEGATIVE_INFINITY]
  for (const rank of ranks) {
    const value = of(rank)
    if (value > most) [found, most] = [rank, value]
  }
  return found
}

/** How far the clock of each rank is ahead of the clock of the first rank, ms. */
function clocksAhead(
  arrivals: readonly (readonly Arrival[])[],
  steps: readonly OwnStep[],
  expert: number,
): readonly number[] {
  const between = (rank: number, reference: number): number => {
    const orders = (steps[rank] as OwnStep).orders.length
    const shared = Math.floor(rank / expert) === Math.floor(reference / expert) ? 0 : orders
    const [own, other] = [arrivals[rank] as readonly Arrival[], arrivals[reference] as readonly Arrival[]]
    let [least, most] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY]
    for (let i = shared; i < own.length; i++) {
      const [a, b] = [own[i] as Arrival, other[i] as Arrival]
      least = Math.max(least, a.at - b.end)
      most = Math.min(most, a.end - b.at)
    }
    const usual = median(own.slice(orders).map(({ end }, i) => end - (other[orders + i] as Arrival).end))
    return Math.min(Math.max(usual, least), most)
  }
  const ahead: number[] = []
  for (let rank = 0; rank < steps.length; rank++) {
    // Ranks of a group have more exchanges with each other than with the first rank.
    const first = rank - (rank % expert)
    ahead.push(rank === 0 ? 0 : rank === first ? between(rank, 0) : (ahead[first] as number) + between(rank, first))
  }
  return ahead
}
