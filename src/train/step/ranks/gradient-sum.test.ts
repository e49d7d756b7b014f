/** Gradients that are exchanged during the backward pass: both sides agree on them, and they fit the memory. */

import { expect, test } from 'vitest'
import { runSchema } from '../../../core/config/run-config.ts'
import type { ArenaKernels } from '../../../engine/contract/arena-kernels.ts'
import type { Ranks } from '../../../engine/contract/ranks.ts'
import { createArena } from '../../../engine/native/cpu-arena.ts'
import { cpuMemory } from '../../../engine/testing/cpu-memory.ts'
import { createStore, layoutOf } from '../trainer.ts'
import { GradientSum } from './gradient-sum.ts'

/** A range of an arena, in floats. */
interface Range {
  readonly offset: number
  readonly length: number
}

/** Only written pages are committed, so large models cost nothing. */
const memory = { ...cpuMemory, createArena: (bytes: number) => createArena(bytes, Number.POSITIVE_INFINITY) }

/** The early transfers of one rank, in order. */
function transfersOf(world: number, expert: number, rank: number, width: number, kind: 'adamw' | 'adafactor') {
  const config = runSchema.parse({
    model: { vocabulary: 8192, layers: 3, width, heads: 4, sequence: 8, moe: { experts: 16, hidden: 2 * width } },
    train: { batch: world, optimizer: { kind } },
    parallel: { expert },
  })
  const store = createStore(memory, config, layoutOf(config, { rank, size: world }))
  const sum = new GradientSum({} as ArenaKernels, store, { rank, size: world } as Ranks)
  const early = sum.exchangeEarly(store.specs.map(({ name }) => name).filter((name) => name !== 'embedding'))
  const [bank, ...others] = store.gradientRegions()
  if (!bank || others.length > 0) throw new Error('this test expects one bank')
  const { arena, gradients, count } = bank
  const transfers = early.flatMap(({ name, transfers }) =>
    transfers.map(({ peer, direction, start, count }) => {
      return { name, peer, direction, offset: start, length: count }
    }),
  )
  return { transfers, arenaFloats: arena.byteLength / 4, gradients: { offset: gradients, length: count } }
}

const overlap = (a: Range, b: Range) => a.offset < b.offset + b.length && b.offset < a.offset + a.length

test.each<[number, number, number, ('adamw' | 'adafactor')?]>([
  [2, 1, 64],
  [2, 2, 64],
  [4, 2, 64],
  [8, 2, 128],
  [8, 8, 128],
  [6, 2, 64],
  // Here the gradients exceed the memory for early gradients.
  [8, 2, 1024],
  // Here the largest tensors have relays.
  [6, 2, 64, 'adafactor'],
  [16, 2, 128, 'adafactor'],
])('transfers match and fit: %i ranks, experts shared by %i, width %i', (world, expert, width, kind) => {
  const ranks = Array.from({ length: world }, (_, rank) => transfersOf(world, expert, rank, width, kind ?? 'adamw'))
  const isEarly = ranks.map(({ transfers }) => transfers.map(({ name }) => name))
  expect(Math.max(...isEarly.map((names) => names.length))).toBeGreaterThan(0)
  for (const [a, { transfers, arenaFloats, gradients }] of ranks.entries()) {
    // Each side receives the gradients that the other side sends, in the same sequence and with the same sizes.
    for (const [b, other] of ranks.entries()) {
      const sent = transfers.filter(({ peer, direction }) => peer === b && direction === 'send')
      const received = other.transfers.filter(({ peer, direction }) => peer === a && direction === 'receive')
      expect(received.map(({ name, length }) => [name, length])).toEqual(sent.map(({ name, length }) => [name, length]))
    }
    const received = transfers.filter(({ direction }) => direction === 'receive')
    for (const [i, range] of received.entries()) {
      expect(range.offset).toBeGreaterThanOrEqual(gradients.offset + gradients.length)
      expect(range.offset + range.length).toBeLessThanOrEqual(arenaFloats)
      for (const other of received.slice(i + 1)) expect(overlap(range, other)).toBe(false)
    }
    for (const range of transfers.filter(({ direction }) => direction === 'send')) {
      expect(range.offset).toBeGreaterThanOrEqual(gradients.offset)
      expect(range.offset + range.length).toBeLessThanOrEqual(gradients.offset + gradients.length)
    }
  }
})
