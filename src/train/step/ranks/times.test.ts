import { expect, test } from 'vitest'
import { randomFor } from '../../../core/random.ts'
import { type OwnStep, packStep, rankTimes, unpackStep } from './times.ts'

/**
 * A step simulated from its definition: each rank computes for the given times, and every exchange ends for all of its
 * ranks when the last has come and its data has travelled. Clocks differ by any amount.
 */
function simulate(setting: {
  /** Time of computing before each exchange, then after the last, by rank [W][exchanges + 1]. */
  readonly compute: readonly (readonly number[])[]
  /** How long the data of each exchange travels. */
  readonly travel: readonly number[]
  /** Number of exchanges within groups, which come first. */
  readonly orders: number
  readonly expert: number
  readonly clocks: readonly number[]
}) {
  const { compute, travel, orders, expert, clocks } = setting
  const ranks = compute.length
  const time = compute.map(() => 0)
  const wait = compute.map(() => 0)
  const steps = clocks.map((): { orders: OwnStep['orders'][number][]; meetings: OwnStep['meetings'][number][] } => ({
    orders: [],
    meetings: [],
  }))
  travel.forEach((duration, i) => {
    const came = time.map((t, rank) => t + (compute[rank]?.[i] as number))
    came.forEach((begin, rank) => {
      const inOrder = i < orders
      const with_ = came.filter((_, other) => !inOrder || Math.floor(other / expert) === Math.floor(rank / expert))
      const last = Math.max(...with_)
      time[rank] = last + duration
      wait[rank] = (wait[rank] as number) + last - begin
      const clock = clocks[rank] as number
      const interval = { begin: begin + clock, end: last + duration + clock }
      if (inOrder) steps[rank]?.orders.push({ stage: i, posted: interval.begin, ...interval, sentBytes: [i, rank] })
      else steps[rank]?.meetings.push(interval)
    })
  })
  const own = steps.map((step, rank): OwnStep => {
    return { ...step, arrivalMs: 0, ms: (time[rank] as number) + (compute[rank]?.at(-1) as number) }
  })
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)
  return { own, wait, compute: compute.map(sum), ranks }
}

const close = (values: readonly number[]) => values.map((value) => expect.closeTo(value, 6))

test('computing, waiting and travel match a simulated step, and add up to it', () => {
  const { own, wait, compute } = simulate({
    compute: [
      [10, 5, 1, 2],
      [4, 9, 1, 2],
    ],
    travel: [3, 2, 4],
    orders: 2,
    expert: 2,
    clocks: [0, 0],
  })
  const times = rankTimes(own, 2)
  expect(times.compute).toEqual(compute)
  expect(wait).toEqual([4, 6])
  expect(times.wait).toEqual([4, 6])
  expect(times.allToAll).toEqual([5, 5])
  expect(times.allReduce).toEqual([4, 4])
  // Rank 1 waits 6 for rank 0 in the first exchange, rank 0 waits 4 in the second.
  expect(times.waitedFor).toEqual([6, 4])
  for (const rank of [0, 1])
    expect(
      (times.compute[rank] as number) +
        (times.allToAll[rank] as number) +
        (times.allReduce[rank] as number) +
        (times.wait[rank] as number),
    ).toBeCloseTo(times.step[rank] as number, 10)
})

test('clocks that differ change nothing', () => {
  const random = randomFor(1, 'rank times')
  for (const [ranks, expert] of [
    [2, 1],
    [4, 2],
    [4, 4],
    [6, 3],
  ] as const) {
    const orders = expert > 1 ? 6 : 0
    const compute = Array.from({ length: ranks }, (_, rank) =>
      Array.from({ length: orders + 4 }, () => 5 + 10 * random.uniform() + rank),
    )
    const travel = Array.from({ length: orders + 3 }, () => 0.1 + random.uniform())
    const even = simulate({ compute, travel, orders, expert, clocks: compute.map(() => 0) })
    const odd = simulate({ compute, travel, orders, expert, clocks: compute.map(() => 1e6 * random.uniform()) })
    const [a, b] = [rankTimes(even.own, expert), rankTimes(odd.own, expert)]
    expect(a.wait).toEqual(close(even.wait))
    expect(b.wait).toEqual(close(even.wait))
    expect(b.waitedFor).toEqual(close(a.waitedFor))
    expect(b.allToAll).toEqual(close(a.allToAll))
  }
})

test('late messages change the waiting in an exchange by at most their delay', () => {
  const random = randomFor(2, 'rank times')
  const compute = [0, 1, 2, 3].map((rank) => Array.from({ length: 14 }, () => 5 + 5 * random.uniform() + 2 * rank))
  const setting = { compute, travel: Array.from({ length: 13 }, () => 1), orders: 10, expert: 4 }
  const { own, wait } = simulate({ ...setting, clocks: [0, 100, 200, 300] })
  const delay = 0.3
  const late = own.map(({ ms, orders, meetings }): OwnStep => {
    const delayed = <T extends { readonly end: number }>(of: T): T => ({
      ...of,
      end: of.end + delay * random.uniform(),
    })
    return { ms, arrivalMs: 0, orders: orders.map(delayed), meetings: meetings.map(delayed) }
  })
  rankTimes(late, 4).wait.forEach((ms, rank) => {
    expect(Math.abs(ms - (wait[rank] as number))).toBeLessThan(13 * delay)
  })
})

test('ranks wait for the slow rank of a group, not for the ranks that it has made late', () => {
  // Rank 1 of the first group is slow; rank 0 waits for it in every layer and comes to the meeting with it, or later.
  const { own } = simulate({
    compute: [
      [1, 1, 1.5, 0],
      [9, 9, 1, 0],
      [1, 1, 1, 0],
      [1, 1, 1, 0],
    ],
    travel: [0.1, 0.1, 0.1],
    orders: 2,
    expert: 2,
    clocks: [0, 0, 0, 0],
  })
  const { waitedFor } = rankTimes(own, 2)
  // In the orders rank 0 waits twice 8, in the meeting ranks 2 and 3 wait 16.5, and rank 1 for half a millisecond.
  expect(waitedFor).toEqual(close([0, (16 + 2 * 16.5) / 3, 0, 0]))
})

test('a rank that posts an order and waits for it later is blocked only from then on', () => {
  const order = (posted: number, begin: number, end: number) => ({ stage: 0, posted, begin, end, sentBytes: [] })
  const meetings = [{ begin: 30, end: 30.1 }]
  // Both compute while rows travel; rank 1 posts at 10, rank 0 waits from 8.
  const steps = [
    { ms: 31, arrivalMs: 0, orders: [order(2, 8, 12)], meetings },
    { ms: 31, arrivalMs: 0, orders: [order(10, 14, 14)], meetings },
  ]
  const { wait, allToAll } = rankTimes(steps, 2)
  expect(wait).toEqual(close([2, 0]))
  expect(allToAll).toEqual(close([2, 0]))
})

test('time blocked for parameters on their way does not count as computing', () => {
  const meetings = [{ begin: 30, end: 30.5 }]
  const steps = [
    { ms: 31, arrivalMs: 7, orders: [], meetings },
    { ms: 31, arrivalMs: 2, orders: [], meetings },
  ]
  const { compute, allReduce, wait } = rankTimes(steps, 1)
  expect(compute).toEqual(close([23.5, 28.5]))
  expect(allReduce).toEqual(close([7.5, 2.5]))
  expect(wait).toEqual(close([0, 0]))
})

test('a step survives the way to another rank', () => {
  const { own } = simulate({
    compute: [
      [1, 2, 3],
      [3, 2, 1],
    ],
    travel: [1, 1],
    orders: 1,
    expert: 2,
    clocks: [0, 7],
  })
  for (const each of own) {
    const step = { ...each, arrivalMs: 0.25 }
    const orders = step.orders.map((order) => ({ ...order, stage: -1 }))
    expect(unpackStep(packStep(step, true), 2)).toEqual({ ...step, orders })
    const without = orders.map((order) => ({ ...order, sentBytes: [] }))
    expect(unpackStep(packStep(step, false), 0)).toEqual({ ...step, orders: without })
  }
})
