import { afterEach, expect, test } from 'vitest'
import { channels } from '../../contract/ranks.ts'
import { addressOf } from '../../native/ffi.ts'
import type { Transfer } from '../mpi/orders.ts'
import { OrderRing } from '../mpi/ring.ts'
import { SimulatedRanks } from './ranks.ts'

const open: SimulatedRanks[] = []
afterEach(async () => {
  for (const ranks of open.splice(0)) await ranks.close()
})

function ranksOf(size: number): SimulatedRanks {
  const ranks = new SimulatedRanks(size)
  open.push(ranks)
  return ranks
}

async function fulfilled(ranks: SimulatedRanks, channel: number, transfers: readonly Transfer[]): Promise<void> {
  const ring = new OrderRing(ranks.orders)
  const ticket = ring.post(channel, transfers)
  while (!ring.isDone(ticket)) await new Promise(setImmediate)
}

/** Arrays that are kept alive, because the courier writes to their addresses. */
const arrays: Float32Array[] = []
function floats(size: number): Float32Array {
  const array = new Float32Array(new SharedArrayBuffer(4 * size))
  arrays.push(array)
  return array
}

/** Transfers of one float to, and one float from, every other rank. */
const withAll = (size: number, sent: Float32Array, received: Float32Array): Transfer[] =>
  Array.from({ length: size - 1 }, (_, i) => i + 1).flatMap((peer) => [
    { peer, direction: 'send' as const, address: Number(addressOf(sent)) + 4 * peer, bytes: 4 },
    { peer, direction: 'receive' as const, address: Number(addressOf(received)) + 4 * peer, bytes: 4 },
  ])

test('every rank has a place in the roster and in gathered values', async () => {
  const ranks = ranksOf(3)
  expect([ranks.rank, ranks.size, ranks.roster.length]).toEqual([0, 3, 3])
  expect([...(await ranks.allGather(Float64Array.of(1, 2)))]).toEqual([1, 2, 1, 2, 1, 2])
  expect(await ranks.gatherText('same')).toEqual(['same', 'same', 'same'])
})

test('arrays that are sent to a peer come back from it, in order, and all other memory stays', async () => {
  const ranks = ranksOf(3)
  const array = (...values: number[]) => Float32Array.from(values)
  const [a, b, c] = [array(0, 0), array(0, 0), array(7, 7)]
  await ranks.exchange(channels.gradients, [
    { peer: 1, direction: 'receive', array: a },
    { peer: 1, direction: 'send', array: array(1, 2) },
    { peer: 1, direction: 'receive', array: b },
    { peer: 1, direction: 'send', array: array(3, 4) },
    { peer: 2, direction: 'receive', array: c },
  ])
  expect([...a, ...b, ...c]).toEqual([1, 2, 3, 4, 7, 7])
})

test.each([2, 480])('orders of other threads are fulfilled in a world of %d', async (size) => {
  const ranks = ranksOf(size)
  const [sent, received] = [floats(size), floats(size)]
  sent.set(Array.from(sent, (_, i) => i + 0.5))
  await fulfilled(ranks, channels.experts, withAll(size, sent, received))
  await fulfilled(ranks, channels.experts, withAll(size, sent, received))
  expect([...received]).toEqual([0, ...sent.subarray(1)])
})

test('traffic counts every byte once, of orders and of exchanges', async () => {
  const ranks = ranksOf(4)
  await fulfilled(ranks, channels.experts, withAll(4, floats(4), floats(4)))
  await ranks.exchange(channels.gradients, [{ peer: 1, direction: 'send', array: new Float32Array(5) }])
  const bytes = ranks.traffic().map(({ channel, sentBytes, receivedBytes }) => [channel, sentBytes, receivedBytes])
  expect(bytes.sort()).toEqual([
    [channels.gradients, 20, 0],
    [channels.experts, 12, 12],
  ])
})
