import fc from 'fast-check'
import { expect, test } from 'vitest'
import { philox, Random, randomFor, shuffle } from './random.ts'

/** Known answers of Philox4x32-10, published with Random123 (tests/kat_vectors): counter, key, output. */
const known = [
  '00000000 00000000 00000000 00000000 00000000 00000000 6627e8d5 e169c58d bc57ac4c 9b00dbd8',
  'ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff 408f276d 41c83b0e a20bc7c6 6d5451fd',
  '243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0 d16cfe09 94fdcceb 5001e420 24126ea1',
]

test.each(known)('Philox gives the published answer for %s', (line) => {
  const words = line.split(' ').map((word) => Number.parseInt(word, 16))
  const block = Uint32Array.from(words.slice(0, 4))
  philox(block, words[4] as number, words[5] as number)
  expect([...block]).toEqual(words.slice(6))
})

/** Philox from its definition, on integers of any size. */
function philoxByDefinition(counter: readonly bigint[], key: readonly bigint[]): bigint[] {
  const mask = 0xffffffffn
  let [a, b, c, d] = counter as [bigint, bigint, bigint, bigint]
  let [k, l] = key as [bigint, bigint]
  for (let round = 0; round < 10; round++) {
    const first = a * 0xd2511f53n
    const second = c * 0xcd9e8d57n
    ;[a, b, c, d] = [(second >> 32n) ^ b ^ k, second & mask, (first >> 32n) ^ d ^ l, first & mask]
    k = (k + 0x9e3779b9n) & mask
    l = (l + 0xbb67ae85n) & mask
  }
  return [a, b, c, d]
}

test('Philox on 16-bit halves equals its definition on big integers', () => {
  const word = fc.integer({ min: 0, max: 0xffffffff })
  fc.assert(
    fc.property(fc.tuple(word, word, word, word), fc.tuple(word, word), (counter, key) => {
      const block = Uint32Array.from(counter)
      philox(block, key[0], key[1])
      expect([...block].map(BigInt)).toEqual(philoxByDefinition(counter.map(BigInt), key.map(BigInt)))
    }),
  )
})

test('a table consists of the outputs for counters 0, 1, 2, ... in order', () => {
  const random = new Random(7, 9)
  for (let i = 0n; i < 3n; i++)
    for (const word of philoxByDefinition([i, 0n, 0n, 0n], [7n, 9n])) expect(random.uint32()).toBe(Number(word))
})

test('a name always gives the same table, and different names give different tables', () => {
  const start = (...name: [number, ...(string | number)[]]) => {
    const random = randomFor(...name)
    return `${random.uint32()} ${random.uint32()}`
  }
  expect(start(5, 'a', 1)).toBe(start(5, 'a', 1))
  const names: [number, ...(string | number)[]][] = [
    [5],
    [6],
    [5 + 2 ** 40],
    [5, 'a'],
    [5, 'a', 1],
    [5, 'a', '1'],
    [5, 1, 'a'],
    [5, 'ab'],
    [5, 'a', 'b'],
    [5, 'ba'],
    [5, ''],
    [5, '', ''],
    [5, '\0'],
    [5, 'a\0'],
    [5, 0],
    [5, 0.5],
    [5, 'abcdef'],
    [5, 'abcdef', ''],
    [5, 'abcdefg'],
  ]
  expect(new Set(names.map((name) => start(...name))).size).toBe(names.length)
})

test('a hundred thousand tensor names have a hundred thousand different tables', () => {
  const seen = new Set<string>()
  for (let layer = 0; layer < 100; layer++)
    for (let expert = 0; expert < 1000; expert++) {
      const random = randomFor(0, `layers.${layer}.experts.${expert}.up`)
      seen.add(`${random.uint32()} ${random.uint32()}`)
    }
  expect(seen.size).toBe(100_000)
})

test('uniform and integer(n) have the moments and the counts of the uniform distribution', () => {
  const random = randomFor(11, 'uniform')
  const count = 100_000
  let sum = 0
  let squares = 0
  let outside = 0
  for (let i = 0; i < count; i++) {
    const value = random.uniform()
    if (value < 0 || value >= 1) outside++
    sum += value
    squares += value * value
  }
  expect(outside).toBe(0)
  // Five standard errors: sqrt(1/12/n) and sqrt(4/45/n).
  expect(Math.abs(sum / count - 1 / 2)).toBeLessThan(5 * Math.sqrt(1 / 12 / count))
  expect(Math.abs(squares / count - 1 / 3)).toBeLessThan(5 * Math.sqrt(4 / 45 / count))

  const bins = new Array<number>(7).fill(0)
  for (let i = 0; i < 70_000; i++) {
    const value = random.integer(7)
    bins[value] = (bins[value] as number) + 1
  }
  const chiSquare = bins.reduce((total, bin) => total + (bin - 10_000) ** 2 / 10_000, 0)
  expect(chiSquare).toBeLessThan(35) // 6 degrees of freedom: p < 1e-5
})

test('integer(n) is unbiased even where n does not divide 2³² by far', () => {
  // With a plain remainder, values below 2³⁰ would come twice as often as the others.
  const random = randomFor(3, 'bias')
  const n = 3 * 2 ** 30
  let low = 0
  for (let i = 0; i < 30_000; i++) if (random.integer(n) < 2 ** 30) low++
  expect(Math.abs(low - 10_000)).toBeLessThan(5 * Math.sqrt((30_000 * 2) / 9))
})

test('integer(n) refuses an invalid n', () => {
  for (const n of [0, -1, 1.5, 2 ** 33, Number.NaN]) expect(() => randomFor(0).integer(n)).toThrow('internal:')
})

/** Density of the standard normal, and its mass between two numbers by Simpson's rule. */
const density = (x: number) => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)
function massFrom(low: number, high: number): number {
  const cells = 2000
  const width = (high - low) / cells
  let sum = density(low) + density(high)
  for (let i = 1; i < cells; i++) sum += (i % 2 === 1 ? 4 : 2) * density(low + i * width)
  return (sum * width) / 3
}

test('truncated normal inverts the distribution function at every number of the table', () => {
  const values = new Float32Array(2000)
  randomFor(1, 'inverse').truncatedNormal(values, 1)
  const table = randomFor(1, 'inverse')
  const total = massFrom(-2, 2)
  for (const value of values) {
    const uniform = (table.uint32() + 0.5) / 2 ** 32
    expect(Math.abs(massFrom(-2, value) / total - uniform)).toBeLessThan(2e-7)
  }
})

test('truncated normal stays within two standard deviations and has the theoretical moments', () => {
  const std = 0.02
  const values = new Float32Array(400_000)
  randomFor(2, 'moments').truncatedNormal(values, std)
  const moments = [0, 0, 0, 0]
  let largest = 0
  for (const value of values) {
    const z = value / std
    largest = Math.max(largest, Math.abs(z))
    for (let power = 0; power < 4; power++)
      moments[power] = (moments[power] as number) + z ** (power + 1) / values.length
  }
  // E z² = 1 − 4φ(2)/m and E z⁴ = 3 E z² − 16φ(2)/m by parts, with m the mass within ±2.
  const edge = density(2) / massFrom(-2, 2)
  const second = 1 - 4 * edge
  const fourth = 3 * second - 16 * edge
  expect(second).toBeCloseTo(0.7737, 4)
  expect(largest).toBeLessThanOrEqual(2.000001)
  expect(largest).toBeGreaterThan(1.999)
  const error = 5 / Math.sqrt(values.length)
  expect(Math.abs(moments[0] as number)).toBeLessThan(error)
  expect(Math.abs((moments[1] as number) - second)).toBeLessThan(error)
  expect(Math.abs(moments[2] as number)).toBeLessThan(2 * error)
  expect(Math.abs((moments[3] as number) - fourth)).toBeLessThan(3 * error)
})

test('std scales truncated normals and changes nothing else', () => {
  const one = new Float32Array(100)
  const half = new Float32Array(100)
  randomFor(4, 'w').truncatedNormal(one, 1)
  randomFor(4, 'w').truncatedNormal(half, 0.5)
  expect([...half]).toEqual([...one].map((value) => value / 2))
})

test('a shuffle keeps the values, and moves each to each place equally often', () => {
  const random = randomFor(0, 'shuffle')
  const counts = Array.from({ length: 4 }, () => [0, 0, 0, 0])
  for (let i = 0; i < 4000; i++) {
    const values = [0, 1, 2, 3]
    shuffle(values, random)
    expect([...values].sort()).toEqual([0, 1, 2, 3])
    for (const [place, value] of values.entries())
      (counts[value] as number[])[place] = (counts[value]?.[place] ?? 0) + 1
  }
  // 1000 expected with a standard deviation of 27.
  for (const count of counts.flat()) expect(Math.abs(count - 1000)).toBeLessThan(5 * 27)
})
