import { expect, test } from 'vitest'
import type { Transfer } from './orders.ts'
import { Pieces } from './pieces.ts'

const PIECE = 128 * 1024
const send = (peer: number, address: number, bytes: number): Transfer => ({ peer, direction: 'send', address, bytes })
const receive = (peer: number, address: number, bytes: number): Transfer => ({
  peer,
  direction: 'receive',
  address,
  bytes,
})

/** Begins what may begin, and ends all of it, until nothing is left. @returns Addresses and sizes of each round. */
function drain(pieces: Pieces<string>, rounds = 1000): [number, number][][] {
  const all: [number, number][][] = []
  for (let round = 0; round < rounds; round++) {
    const begun = pieces.begin(true)
    if (begun.length === 0) return all
    all.push(begun.map(({ transfer }) => [transfer.address, transfer.bytes]))
    for (const { channel, transfer } of begun) pieces.end(channel, transfer)
  }
  return all
}

test('pieces cover each transfer once, in order, whatever its size', () => {
  for (const bytes of [1, PIECE - 4, PIECE, PIECE + 4, 7 * PIECE + 12]) {
    const pieces = new Pieces<string>()
    expect(pieces.add('order', 3, [send(1, 1000, bytes)])).toBe(Math.ceil(bytes / PIECE))
    let next = 1000
    for (const [address, size] of drain(pieces).flat()) {
      expect(address).toBe(next)
      next += size
    }
    expect(next).toBe(1000 + bytes)
  }
})

test('nothing is sent beside something urgent, and what arrives is still received', () => {
  const pieces = new Pieces<string>()
  pieces.add('order', 3, [send(1, 0, 8 * PIECE), receive(1, 2 ** 30, 3 * PIECE)])
  expect(pieces.begin(false).map(({ transfer }) => transfer.direction)).toEqual(['receive', 'receive', 'receive'])
  expect(pieces.begin(true).map(({ transfer }) => transfer.direction)).toEqual(['send', 'send'])
  // No more than two are under way, so what becomes urgent waits for two at most.
  expect(pieces.begin(true)).toEqual([])
})

test('as long as a peer takes all pieces between two polls, twice as many are sent at a time, until something is urgent', () => {
  const pieces = new Pieces<string>()
  pieces.add('order', 3, [send(1, 0, 1000 * PIECE)])
  expect(drain(pieces, 8).map((round) => round.length)).toEqual([2, 4, 8, 16, 32, 64, 64, 64])
  pieces.begin(false)
  expect(drain(pieces, 3).map((round) => round.length)).toEqual([2, 4, 8])
})

test('a link that has pieces left at every poll gets no more of them', () => {
  const pieces = new Pieces<string>()
  pieces.add('order', 3, [send(1, 0, 100 * PIECE)])
  let flying = pieces.begin(true)
  for (let poll = 0; poll < 50; poll++) {
    const [first] = flying
    if (first) pieces.end(first.channel, first.transfer)
    flying = [...flying.slice(1), ...pieces.begin(true)]
    expect(flying.length).toBe(2)
  }
})

test('orders of a channel begin in sequence, and those of other peers and channels beside them', () => {
  const pieces = new Pieces<string>()
  pieces.add('first', 3, [send(1, 0, 3 * PIECE)])
  pieces.add('second', 3, [send(1, 2 ** 20, PIECE), send(2, 0, PIECE)])
  pieces.add('third', 4, [send(1, 0, PIECE)])
  const begun = pieces.begin(true)
  const ownersTo = (peer: number, channel: number) =>
    begun.filter((piece) => piece.transfer.peer === peer && piece.channel === channel).map(({ owner }) => owner)
  expect(ownersTo(1, 3)).toEqual(['first', 'first'])
  expect(ownersTo(2, 3)).toEqual(['second'])
  expect(ownersTo(1, 4)).toEqual(['third'])
  for (const { channel, transfer } of begun) pieces.end(channel, transfer)
  expect(pieces.begin(true).map(({ owner }) => owner)).toEqual(['first', 'second'])
})
