/**
 * Where the time of a step goes on each rank, from the moments at which ranks come to their exchanges.
 *
 * Every exchange is one of a sequence that is the same on all its ranks: orders for the rows of experts within an
 * expert group, then meetings of all ranks (gradients, gathered statistics, parameters). A rank that is blocked in an
 * exchange *waits* until the last rank has come to it; from then on, data is on its way.
 *
 * Ranks have clocks of their own, which the meetings compare: all leave a meeting at about the same time, and none
 * leaves an exchange before another has come to it. So the waiting in an exchange is exact up to about the time that a
 * short message takes.
 */
import type { LoggedOrder } from '../runtime/order-log.ts'
import { median } from './statistics.ts'
import type { Interval } from './timeline.ts'

/** A rank's own step. Times in ms from its begin. */
export interface OwnStep {
  readonly ms: number
  readonly orders: readonly LoggedOrder[]
  readonly meetings: readonly Interval[]
}

/** Times of a step by rank, ms. The first four add up to the step. */
export interface RankTimes {
  /** Everything but the following. */
  readonly compute: number[]
  /** Blocked for rows of experts, or results of theirs, that are on their way. */
  readonly allToAll: number[]
  /** Blocked in the sum of gradients, in sharing parameters, and in gathers, after all ranks have come. */
  readonly allReduce: number[]
  /** Blocked before the last rank has come. */
  readonly wait: number[]
  /** Mean over the other ranks of the time that they wait for this one. */
  readonly waitedFor: number[]
  /** Of the whole step. */
  readonly step: number[]
}

/** Numbers of a step, to be gathered: every rank of a training has as many. */
export function packStep({ ms, orders, meetings }: OwnStep, withBytes: boolean): Float64Array {
  return Float64Array.from([
    ms,
    orders.length,
    ...orders.flatMap(({ posted, begin, end, sentBytes }) => [posted, begin, end, ...(withBytes ? sentBytes : [])]),
    ...meetings.flatMap(({ begin, end }) => [begin, end]),
  ])
}

/** The inverse of {@link packStep}, without stages. @param ranks Ranks of a group if bytes are included, else 0. */
export function unpackStep(numbers: Float64Array, ranks: number): OwnStep {
  const [ms = 0, count = 0] = numbers
  const size = 3 + ranks
  const orders = Array.from({ length: count }, (_, i): LoggedOrder => {
    const [posted = 0, begin = 0, end = 0, ...sentBytes] = numbers.subarray(2 + i * size, 2 + (i + 1) * size)
    return { stage: -1, posted, begin, end, sentBytes }
  })
  const rest = numbers.subarray(2 + count * size)
  const meetings = Array.from({ length: rest.length / 2 }, (_, i): Interval => {
    return { begin: rest[2 * i] as number, end: rest[2 * i + 1] as number }
  })
  return { ms, orders, meetings }
}

/** A rank in an exchange: when it came, and from when to when it was blocked, in ms on the clock of the first rank. */
interface Arrival extends Interval {
  readonly at: number
}

/** @param steps The same step, by rank. @param expert Ranks that share the experts of a layer. */
export function rankTimes(steps: readonly OwnStep[], expert: number): RankTimes {
  const zeroes = () => steps.map(() => 0)
  const [allToAll, allReduce, wait, waitedFor, blocked] = [zeroes(), zeroes(), zeroes(), zeroes(), zeroes()]
  const add = (to: number[], rank: number, ms: number): void => {
    to[rank] = (to[rank] as number) + ms
  }
  /** @param causeOf The rank for which the last one to come was late. */
  const count = (exchange: ReadonlyMap<number, Arrival>, kind: number[], causeOf: (last: number) => number): void => {
    const last = largest([...exchange.keys()], (rank) => (exchange.get(rank) as Arrival).at)
    const arrived = (exchange.get(last) as Arrival).at
    const cause = causeOf(last)
    for (const [rank, { begin, end }] of exchange) {
      const waited = Math.min(Math.max(arrived - begin, 0), end - begin)
      add(wait, rank, waited)
      add(kind, rank, end - begin - waited)
      add(blocked, rank, end - begin)
      if (rank !== cause) add(waitedFor, cause, waited / (steps.length - 1))
    }
  }
  const ahead = clocksAhead(steps, expert)
  const all = steps.map((_, rank) => rank)
  const groups = all.filter((rank) => rank % expert === 0).map((first) => all.slice(first, first + expert))
  for (const group of groups) for (const order of ordersOf(steps, group, ahead)) count(order, allToAll, (last) => last)
  for (const meeting of meetingsOf(steps, all, ahead)) {
    // A group comes together, because its ranks wait for the slowest of them in every layer.
    const busy = (rank: number) => (meeting.get(rank) as Arrival).at - (blocked[rank] as number)
    count(meeting, allReduce, (last) => largest(groups[Math.floor(last / expert)] as number[], busy))
  }
  const step = steps.map(({ ms }) => ms)
  const compute = step.map((ms, rank) => Math.max(0, ms - (blocked[rank] as number)))
  return { compute, allToAll, allReduce, wait, waitedFor, step }
}

const largest = (ranks: readonly number[], of: (rank: number) => number): number =>
  ranks.reduce((a, b) => (of(b) > of(a) ? b : a))

/** How far the clock of each rank is ahead of that of the first one, ms. */
function clocksAhead(steps: readonly OwnStep[], expert: number): number[] {
  const none = steps.map(() => 0)
  const between = (rank: number, reference: number): number => {
    const both = [rank, reference]
    const orders = Math.floor(rank / expert) === Math.floor(reference / expert) ? ordersOf(steps, both, none) : []
    const meetings = meetingsOf(steps, both, none)
    const pairs = [...orders, ...meetings].map((of) => [of.get(rank), of.get(reference)] as [Arrival, Arrival])
    const most = Math.min(...pairs.map(([own, other]) => own.end - other.at))
    const least = Math.max(...pairs.map(([own, other]) => own.at - other.end))
    const usual = median(pairs.slice(orders.length).map(([own, other]) => own.end - other.end))
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

function ordersOf(steps: readonly OwnStep[], ranks: readonly number[], ahead: readonly number[]) {
  const count = Math.min(...ranks.map((rank) => (steps[rank] as OwnStep).orders.length))
  return exchanges(count, ranks, ahead, (rank, i) => {
    const { posted, begin, end } = (steps[rank] as OwnStep).orders[i] as LoggedOrder
    return { at: posted, begin, end }
  })
}

function meetingsOf(steps: readonly OwnStep[], ranks: readonly number[], ahead: readonly number[]) {
  const count = Math.min(...ranks.map((rank) => (steps[rank] as OwnStep).meetings.length))
  return exchanges(count, ranks, ahead, (rank, i) => {
    const { begin, end } = (steps[rank] as OwnStep).meetings[i] as Interval
    return { at: begin, begin, end }
  })
}

/** Exchanges by rank, on the clock of the first one. */
function exchanges(
  count: number,
  ranks: readonly number[],
  ahead: readonly number[],
  of: (rank: number, i: number) => Arrival,
): ReadonlyMap<number, Arrival>[] {
  return Array.from({ length: count }, (_, i) => {
    const entries = ranks.map((rank) => {
      const { at, begin, end } = of(rank, i)
      const by = ahead[rank] as number
      return [rank, { at: at - by, begin: begin - by, end: end - by }] as const
    })
    return new Map(entries)
  })
}
