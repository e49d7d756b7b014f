/** Ranges of memory that this process cannot see are exchanged through copies, in the order of the calls. */
import { expect, test } from 'vitest'
import type { Arena } from '../../../engine/contract/arena.ts'
import type { Ranks, Transfer } from '../../../engine/contract/ranks.ts'
import { createArena } from '../../../engine/native/cpu-arena.ts'
import { ranksInProcess } from '../../../engine/world/in-process/ranks.ts'
import { RangeExchange, type RangeTransfer } from './range-exchange.ts'

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** Memory of a device: reads take their time, and have the values of when they were called. */
class DeviceMemory implements Arena {
  readonly host = null
  readonly byteLength: number
  readonly values: Float32Array
  reads = 0
  private readonly delays: number[]

  /** @param delays Time of each read, ms; later reads take none. */
  constructor(values: readonly number[], delays: number[] = []) {
    this.delays = delays
    this.values = Float32Array.from(values)
    this.byteLength = this.values.byteLength
  }
  async read(start: number, length: number): Promise<Float32Array> {
    this.reads++
    const copy = this.values.slice(start, start + length)
    await pause(this.delays.shift() ?? 0)
    return copy
  }
  async write(start: number, values: Float32Array): Promise<void> {
    this.values.set(values, start)
  }
  release(): void {}
}

const send = (peer: number, arena: Arena, start: number, count: number): RangeTransfer => {
  return { peer, direction: 'send', arena, start, count }
}
const receive = (peer: number, arena: Arena, start: number, count: number): RangeTransfer => {
  return { peer, direction: 'receive', arena, start, count }
}

test('ranges arrive where they belong, in the order of the calls, even if a later read ends first', async () => {
  const ranks = ranksInProcess(2)
  const [a, b] = [new DeviceMemory([1, 2, 3, 4], [20, 0]), new DeviceMemory([0, 0, 0, 0, 0])]
  const [from, to] = ranks.map((of) => new RangeExchange(of)) as [RangeExchange, RangeExchange]
  const all = [
    from.exchange(0, [send(1, a, 0, 2)]),
    from.exchange(0, [send(1, a, 2, 2)]),
    to.exchange(0, [receive(0, b, 1, 2)]),
    to.exchange(0, [receive(0, b, 3, 2)]),
  ]
  // What was enqueued before the exchange is sent, not what is computed since.
  a.values.fill(9)
  await Promise.all(all)
  expect([...b.values]).toEqual([0, 1, 2, 3, 4])
})

test('a range for several ranks is read once', async () => {
  const ranks = ranksInProcess(3)
  const memory = [new DeviceMemory([5, 6]), new DeviceMemory([0, 0]), new DeviceMemory([0, 0])] as const
  const transfers = [
    [send(1, memory[0], 0, 2), send(2, memory[0], 0, 2)],
    [receive(0, memory[1], 0, 2)],
    [receive(0, memory[2], 0, 2)],
  ]
  await Promise.all(ranks.map((of, i) => new RangeExchange(of).exchange(1, transfers[i] as RangeTransfer[])))
  expect(memory[0].reads).toBe(1)
  expect(memory.map(({ values }) => [...values])).toEqual([
    [5, 6],
    [5, 6],
    [5, 6],
  ])
})

test('ranges in memory of this process are exchanged in place, without copies', () => {
  const arena = createArena(1024)
  let given: readonly Transfer[] = []
  const ranks = {
    begin: (_channel: number, transfers: readonly Transfer[]) => {
      given = transfers
      return { ticket: 7, done: Promise.resolve() }
    },
  } as unknown as Ranks
  expect(new RangeExchange(ranks).begin(0, [send(1, arena, 8, 4)]).ticket).toBe(7)
  expect(given[0]?.array.buffer).toBe(arena.host?.buffer)
  expect([given[0]?.array.byteOffset, given[0]?.array.length]).toEqual([32, 4])
})

test('a failure of the device or of the ranks reaches the caller', async () => {
  const [ranks] = ranksInProcess(1) as [Ranks]
  const broken = { ...new DeviceMemory([1]), host: null, read: () => Promise.reject(new Error('the GPU was lost')) }
  await expect(new RangeExchange(ranks).exchange(0, [send(0, broken as unknown as Arena, 0, 1)])).rejects.toThrow(
    'lost',
  )
})

test('in a simulated world, memory that nothing arrives for keeps its values', async () => {
  const memory = new DeviceMemory([1, 2, 3, 4])
  const ranks: Pick<Ranks, 'begin' | 'keepsValues'> = {
    keepsValues: true,
    begin(_, transfers) {
      // The second array is filled in part.
      transfers[1]?.array.fill(9, 0, 1)
      return { ticket: -1, done: Promise.resolve() }
    },
  }
  await new RangeExchange(ranks as Ranks).exchange(0, [receive(1, memory, 0, 2), receive(2, memory, 2, 2)])
  expect([...memory.values]).toEqual([1, 2, 9, 4])
})
