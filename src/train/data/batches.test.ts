import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Batch, heldOutBatches, trainBatch, windowsOf } from './batches.ts'
import type { TokenStream } from './streams/token-stream.ts'

/** A stream whose token i is i. */
function counting(length: number): TokenStream {
  return {
    length,
    documents: 1,
    read(offset, into) {
      if (offset + into.length > length) throw new Error('past the end')
      for (let i = 0; i < into.length; i++) into[i] = offset + i
    },
  }
}

const space = ({ batch, sequence }: { batch: number; sequence: number }): Batch => ({
  tokens: new Int32Array(batch * sequence),
  targets: new Int32Array(batch * sequence),
})

const cases = fc.record({
  length: fc.integer({ min: 2, max: 400 }),
  batch: fc.integer({ min: 1, max: 7 }),
  sequence: fc.integer({ min: 1, max: 40 }),
  seed: fc.maxSafeNat(),
})

test('a training epoch visits every window once, for any batch size', () => {
  fc.assert(
    fc.property(cases, ({ length, batch, sequence, seed }) => {
      fc.pre(length > sequence)
      const stream = counting(length)
      const windows = windowsOf(stream, sequence)
      const starts: number[] = []
      const into = space({ batch, sequence })
      for (let step = 0; starts.length < 3 * windows; step++) {
        trainBatch(stream, { batch, sequence }, seed, step, into)
        for (let row = 0; row < batch; row++) starts.push(into.tokens[row * sequence] as number)
      }
      for (let epoch = 0; epoch < 3; epoch++) {
        const visited = starts.slice(epoch * windows, (epoch + 1) * windows)
        // The windows lie on a ring: starts of neighbours are `sequence` tokens apart.
        const set = new Set(visited)
        expect(set.size).toBe(windows)
        const followers = visited.filter((start) => set.has((start + sequence) % length)).length
        expect(followers).toBeGreaterThanOrEqual(windows - 1)
      }
    }),
    { numRuns: 50 },
  )
})

test('a target is the next token on the ring', () => {
  fc.assert(
    fc.property(cases, fc.nat(10_000), ({ length, batch, sequence, seed }, step) => {
      fc.pre(length > sequence)
      const into = space({ batch, sequence })
      trainBatch(counting(length), { batch, sequence }, seed, step, into)
      expect([...into.targets]).toEqual(Array.from(into.tokens, (token) => (token + 1) % length))
      for (let i = 1; i < into.tokens.length; i++)
        if (i % sequence !== 0) expect(into.tokens[i]).toBe(into.targets[i - 1])
    }),
  )
})

test('a batch is a function of seed and step alone; another seed or step gives another batch', () => {
  const shape = { batch: 4, sequence: 8 }
  const stream = counting(5000)
  const at = (seed: number, step: number) => {
    const into = space(shape)
    trainBatch(stream, shape, seed, step, into)
    return into.tokens.join()
  }
  const forwards = [0, 1, 2, 700].map((step) => at(5, step))
  expect([700, 2, 1, 0].map((step) => at(5, step)).reverse()).toEqual(forwards)
  expect(new Set([...forwards, at(6, 0)]).size).toBe(5)
})

test('a stream shorter than one sequence and its target is refused with both lengths', () => {
  const shape = { batch: 1, sequence: 8 }
  expect(() => trainBatch(counting(8), shape, 0, 0, space(shape))).toThrow(/8 training tokens.* 8 needs at least 9/)
  trainBatch(counting(9), shape, 0, 0, space(shape))
})

test('every held-out token but the first is a target exactly once, after the token before it', () => {
  fc.assert(
    fc.property(cases, ({ length, batch, sequence }) => {
      const into = space({ batch, sequence })
      const visited: number[] = []
      for (const { counted, starts } of heldOutBatches(counting(length), { batch, sequence }, into)) {
        const targets = [...into.targets]
        expect(targets.filter((target) => target >= 0).length).toBe(counted)
        expect(starts).toEqual(Array.from({ length: batch }, (_, row) => into.tokens[row * sequence]))
        targets.forEach((target, i) => {
          if (target >= 0) visited.push(target)
          if (target >= 0) expect(into.tokens[i]).toBe(target - 1)
          // The text of a row is consecutive, even where its targets do not count.
          if (i % sequence > 0) expect(into.tokens[i]).toBe(((into.tokens[i - 1] as number) + 1) % length)
        })
      }
      expect(visited.sort((a, b) => a - b)).toEqual(Array.from({ length: length - 1 }, (_, i) => i + 1))
    }),
  )
})

test('held-out windows come in an order that looks random: their neighbours are seldom in the same batch', () => {
  const shape = { batch: 8, sequence: 16 }
  const into = space(shape)
  const windows = 1000
  let neighbours = 0
  for (const _ of heldOutBatches(counting(windows * 16 + 1), shape, into)) {
    const starts = new Set(Array.from({ length: 8 }, (_, row) => into.tokens[row * 16] as number))
    for (const start of starts) if (starts.has(start + 16)) neighbours++
  }
  // In a random order, 7 of the 999 pairs of neighbours are in one batch on average.
  expect(neighbours).toBeLessThan(25)
})
