import fc from 'fast-check'
import { expect, test } from 'vitest'
import { randomFor } from '../../../core/random.ts'
import { type SamplingOptions, sample } from './sampling.ts'

const all = { temperature: 1, topK: 0, topP: 1 }
const logitsOf = (probabilities: readonly number[]) => Float32Array.from(probabilities, (p) => Math.log(p))

/** How often each id was drawn. */
function counts(logits: Float32Array, options: SamplingOptions, draws: number, seed = 5): number[] {
  const random = randomFor(seed, 'sampling test')
  const found = new Array<number>(logits.length).fill(0)
  for (let i = 0; i < draws; i++) {
    const id = sample(logits, logits.length, options, random)
    found[id] = (found[id] ?? 0) + 1
  }
  return found
}

/** Pearson's χ² against probabilities; cells of probability 0 must be empty. */
function chiSquare(found: readonly number[], probabilities: readonly number[]): number {
  const draws = found.reduce((a, b) => a + b, 0)
  return probabilities.reduce((sum, p, i) => {
    if (p === 0) expect(found[i]).toBe(0)
    return p === 0 ? sum : sum + ((found[i] as number) - draws * p) ** 2 / (draws * p)
  }, 0)
}

/** A χ² that chance exceeds once in 10⁴ times, for up to 3 degrees of freedom (table: 21.1). The seed is fixed. */
const LIMIT = 21.1

test('temperature 1 draws with the probabilities of the softmax', () => {
  const p = [0.1, 0.4, 0.2, 0.3]
  expect(chiSquare(counts(logitsOf(p), all, 20_000), p)).toBeLessThan(LIMIT)
})

test('temperature 2 draws with square roots of the probabilities', () => {
  const p = [0.64, 0.16, 0.16, 0.04]
  // The roots are 0.8, 0.4, 0.4 and 0.2, divided by their sum 1.8.
  const expected = [8, 4, 4, 2].map((root) => root / 18)
  expect(chiSquare(counts(logitsOf(p), { ...all, temperature: 2 }, 20_000), expected)).toBeLessThan(LIMIT)
})

test('temperatures at and close to 0 take the most probable token, the first one of equally probable tokens', () => {
  const logits = Float32Array.of(1, 3, 2.999, 3)
  expect(counts(logits, { ...all, temperature: 0 }, 50)).toEqual([0, 50, 0, 0])
  expect(counts(Float32Array.of(1, 3, 2.9, 2), { ...all, temperature: 1e-4 }, 50)).toEqual([0, 50, 0, 0])
})

test('top-k keeps the k most probable tokens in proportion; k beyond the vocabulary keeps all tokens', () => {
  const p = [0.1, 0.4, 0.2, 0.3]
  expect(chiSquare(counts(logitsOf(p), { ...all, topK: 2 }, 20_000), [0, 4 / 7, 0, 3 / 7])).toBeLessThan(LIMIT)
  expect(counts(logitsOf(p), { ...all, topK: 1 }, 50)).toEqual([0, 50, 0, 0])
  expect(chiSquare(counts(logitsOf(p), { ...all, topK: 100 }, 20_000), p)).toBeLessThan(LIMIT)
})

test('top-p keeps the shortest prefix that reaches p, including the token that crosses it', () => {
  const p = [0.1, 0.4, 0.2, 0.3]
  const drawn = (topP: number) => chiSquare(counts(logitsOf(p), { ...all, topP }, 20_000), kept(topP))
  const kept = (topP: number) =>
    topP < 0.4 ? [0, 1, 0, 0] : topP < 0.7 ? [0, 4 / 7, 0, 3 / 7] : [0, 4 / 9, 2 / 9, 3 / 9]
  for (const topP of [0.01, 0.39, 0.41, 0.69, 0.71, 0.89]) expect(drawn(topP)).toBeLessThan(LIMIT)
})

test('top-p applies after temperature and top-k', () => {
  // Top-2 leaves 4/7 and 3/7: 0.5 is reached by the first alone, though 0.4 < 0.5.
  expect(counts(logitsOf([0.1, 0.4, 0.2, 0.3]), { ...all, topK: 2, topP: 0.5 }, 50)).toEqual([0, 50, 0, 0])
})

test('only ids below the count are drawn, for any logits beyond it', () => {
  const random = randomFor(1, 'count')
  const logits = Float32Array.of(0, 0, 50, 50)
  for (let i = 0; i < 100; i++) expect(sample(logits, 2, all, random)).toBeLessThan(2)
})

test('huge and tiny logits neither overflow nor vanish', () => {
  expect(counts(Float32Array.of(-3e38, 3e38), all, 20)).toEqual([0, 20])
  expect(chiSquare(counts(Float32Array.of(-1e30, -1e30), all, 20_000), [0.5, 0.5])).toBeLessThan(LIMIT)
})

test('every draw is one of the k most probable ids', () => {
  const logit = fc.float({ min: -20, max: 20, noNaN: true })
  fc.assert(
    fc.property(
      fc.array(logit, { minLength: 1, maxLength: 30 }),
      fc.integer({ min: 1, max: 40 }),
      fc.double({ min: 1e-3, max: 1, noNaN: true }),
      fc.double({ min: 0, max: 5, noNaN: true }),
      fc.nat(),
      (values, topK, topP, temperature, seed) => {
        const logits = Float32Array.from(values)
        const id = sample(logits, values.length, { temperature, topK, topP }, randomFor(seed))
        const above = logits.filter((value) => value > (logits[id] as number)).length
        expect(above).toBeLessThan(topK)
      },
    ),
  )
})

test('many candidates are in the order of a plain sort, with equal logits and signed zeros by id', () => {
  const value = fc.oneof(fc.float({ min: -3, max: 3, noNaN: true }), fc.constantFrom(0, -0, 1, -1, 1e-40, -1e-40))
  fc.assert(
    fc.property(fc.array(value, { minLength: 300, maxLength: 400 }), fc.nat(), (values, seed) => {
      const logits = Float32Array.from(values)
      const drawn = sample(logits, values.length, all, randomFor(seed))
      // This is the definition: inversion of the distribution, in descending order of logits.
      const order = [...logits.keys()].sort((a, b) => (logits[b] as number) - (logits[a] as number) || a - b)
      const weight = (id: number) => Math.exp((logits[id] as number) - (logits[order[0] as number] as number))
      let target = randomFor(seed).uniform() * order.reduce((sum, id) => sum + weight(id), 0)
      const expected = order.find((id) => {
        target -= weight(id)
        return target < 0
      })
      expect(drawn).toBe(expected)
    }),
  )
})
