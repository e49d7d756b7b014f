/**
 * The priority `position` is equal to the witness on random loads, never above capacity, and fair to all sequences.
 *
 * @slow
 */
import { describe, expect, test } from 'vitest'
import { constant } from '../src/core/graph/tensor.ts'
import { placeChoices } from '../src/core/model/routing/capacity.ts'
import { evaluate } from './support/evaluate.ts'
import { testRandom } from './support/gradient-check.ts'
import { configOf, type MoeSettings } from './support/router-conformance.ts'
import { type Assignment, serveByPosition } from './witness/routing.ts'

interface Case {
  readonly moe: MoeSettings
  readonly groups: number
  readonly sequences: number
  readonly sequence: number
}

/** Random choices with weights `popularity`: k distinct experts in each prototype, with decreasing gates. */
function draw({ moe, groups, sequences, sequence }: Case, random: () => number, popularity: readonly number[]) {
  const { prototypes, k, experts } = configOf(moe).moe
  const size = experts / prototypes
  const tokens = groups * sequences * sequence
  const choices = prototypes * k
  const expert_TK = new Int32Array(tokens * choices)
  const gate_TK = new Float64Array(tokens * choices)
  for (let t = 0; t < tokens; t++)
    for (let z = 0; z < prototypes; z++) {
      // The k largest of log(u) / weight are k draws without replacement (Efraimidis and Spirakis 2006).
      const keys = Array.from({ length: size }, (_, i) => ({
        expert: z * size + i,
        key: Math.log(random()) / (popularity[z * size + i] ?? 1),
      })).sort((a, b) => b.key - a.key)
      const gates = Array.from({ length: k }, () => random()).sort((a, b) => b - a)
      for (let j = 0; j < k; j++) {
        expert_TK[t * choices + z * k + j] = keys[j]?.expert ?? 0
        gate_TK[t * choices + z * k + j] = gates[j] ?? 0
      }
    }
  return { expert_TK, gate_TK, tokens, choices }
}

type Drawn = ReturnType<typeof draw>

async function placed({ moe: settings, groups, sequence }: Case, { expert_TK, gate_TK, tokens, choices }: Drawn) {
  const { moe } = configOf(settings)
  const choice = {
    expert_TK: constant(expert_TK, 'int32', [tokens, choices]),
    gate_TK: constant(gate_TK, 'float64', [tokens, choices]),
  }
  const { position_TK, count_GN, kept_GN, capacity } = placeChoices(moe, choice, { groups, sequence, rule: 'train' })
  const {
    position = [],
    count = [],
    kept = [],
  } = await evaluate({
    position: position_TK,
    count: count_GN,
    kept: kept_GN,
  })
  return { position, count, kept, capacity: capacity ?? Infinity }
}

/** Settings of a random case; in about every third case, few experts get most of the tokens. */
function randomCase(random: () => number): { given: Case; popularity: number[] } {
  const pick = <T>(...of: T[]): T => of[Math.floor(random() * of.length)] as T
  const prototypes = pick(1, 1, 2, 3)
  const size = pick(1, 2, 3, 4, 7)
  const k = Math.min(size, pick(1, 1, 2, 3))
  const moe: MoeSettings = {
    router: prototypes > 1 ? 'prototype' : 'top-k',
    prototypes,
    k,
    experts: prototypes * size,
    capacity: pick('1x', 'kx'),
    factor: pick(0.3, 0.7, 1, 1.25),
    window: pick(1, 2, 3, 5, 8, 100),
  }
  const given = { moe, groups: pick(1, 2, 3), sequences: pick(1, 2, 3, 5), sequence: pick(1, 2, 4, 7, 16, 19) }
  const crowded = random() < 1 / 3
  return { given, popularity: Array.from({ length: prototypes * size }, () => (crowded ? random() ** 4 + 0.01 : 1)) }
}

describe('service by position', () => {
  test('keeps the same assignments as the definition, applied token by token, and at most C per expert', async () => {
    const random = testRandom(1)
    let dropped = 0
    for (let round = 0; round < 150; round++) {
      const { given, popularity } = randomCase(random)
      const { moe } = configOf(given.moe)
      const drawn = draw(given, random, popularity)
      const { expert_TK, gate_TK, choices } = drawn
      const { position, count, kept, capacity } = await placed(given, drawn)
      const where = `round ${round}: ${JSON.stringify(given)}`
      const tokens = given.sequences * given.sequence
      for (let g = 0; g < given.groups; g++) {
        const assignments: Assignment[] = []
        for (let a = g * tokens * choices; a < (g + 1) * tokens * choices; a++)
          assignments.push({
            token: Math.floor(a / choices),
            choice: (a % choices) % moe.k,
            expert: expert_TK[a] as number,
            gate: gate_TK[a] as number,
            kept: true,
          })
        if (capacity < Infinity) serveByPosition(assignments, moe, capacity, { first: g * tokens, ...given })
        const own = position.slice(g * tokens * choices, (g + 1) * tokens * choices)
        expect(
          own.map((place) => place < capacity),
          where,
        ).toEqual(assignments.map((assignment) => assignment.kept))
        for (let e = 0; e < moe.experts; e++) {
          const asked = assignments.filter(({ expert }) => expert === e)
          const served = asked.filter((assignment) => assignment.kept)
          dropped += asked.length - served.length
          expect(served.length, where).toBeLessThanOrEqual(capacity)
          expect([count[g * moe.experts + e], kept[g * moe.experts + e]], where).toEqual([asked.length, served.length])
          // The places of the served assignments are 0, 1, 2, ...: the rows of the expert have no gaps.
          const places = own.filter((place, a) => place < capacity && assignments[a]?.expert === e)
          expect(
            places.sort((a, b) => a - b),
            where,
          ).toEqual(served.map((_, i) => i))
        }
      }
    }
    expect(dropped).toBeGreaterThan(1000)
  })
})

interface Fairness {
  readonly sequence: number
  readonly position: number
}

const [GROUPS, SEQUENCES, SEQUENCE, HEAD] = [120, 8, 96, 48]

/**
 * Unevenness of drops over sequences, and over positions after the first `HEAD`. Compares the drop rate of each
 * sequence, of each s mod 8 and of each block of eight positions s with the mean of all, and returns the largest |z|.
 * Groups are independent, so the standard deviation is estimated from the differences of the groups.
 */
function unevenness(position: readonly number[], capacity: number, choices: number): Fairness {
  const dropsOf = (group: number, holds: (b: number, s: number) => boolean) => {
    let [drops, all] = [0, 0]
    for (let b = 0; b < SEQUENCES; b++)
      for (let s = 0; s < SEQUENCE; s++) {
        if (!holds(b, s)) continue
        for (let c = 0; c < choices; c++) {
          all++
          if ((position[((group * SEQUENCES + b) * SEQUENCE + s) * choices + c] ?? 0) >= capacity) drops++
        }
      }
    return drops / all
  }
  const z = (part: (b: number, s: number) => boolean, whole: (b: number, s: number) => boolean) => {
    const differences = Array.from({ length: GROUPS }, (_, g) => dropsOf(g, part) - dropsOf(g, whole))
    const mean = differences.reduce((a, b) => a + b, 0) / GROUPS
    const variance = differences.reduce((a, b) => a + (b - mean) ** 2, 0) / (GROUPS - 1)
    return Math.abs(mean) / Math.sqrt(variance / GROUPS)
  }
  const later = (_: number, s: number) => s >= HEAD
  const eighths = Array.from({ length: 8 }, (_, i) => i)
  const bySequence = eighths.map((i) =>
    z(
      (b) => b === i,
      () => true,
    ),
  )
  const blocks = Array.from({ length: (SEQUENCE - HEAD) / 8 }, (_, i) => HEAD / 8 + i)
  const byPosition = [
    ...eighths.map((i) => z((b, s) => later(b, s) && s % 8 === i, later)),
    ...blocks.map((block) => z((_, s) => Math.floor(s / 8) === block, later)),
  ]
  return { sequence: Math.max(...bySequence), position: Math.max(...byPosition) }
}

/**
 * Largest |z| that counts as noise. With other seeds, about 1 in 6,000 runs of 12 cases with 22 comparisons each would
 * have a |z| beyond 5 if z were normal; with Student's t of 119 degrees of freedom, 1 in 2,000.
 */
const NOISE = 5

describe('drops are equally frequent for every sequence, and at every position after the first 48', () => {
  const settings: Record<string, MoeSettings> = {
    'top-1 kx': { router: 'top-k', k: 1, experts: 8, capacity: 'kx' },
    'top-2 kx': { router: 'top-k', k: 2, experts: 8, capacity: 'kx' },
    '4 top-1 kx': { router: 'prototype', prototypes: 4, k: 1, experts: 8, capacity: 'kx' },
    'top-2 1x': { router: 'top-k', k: 2, experts: 8, capacity: '1x' },
    'top-4 1x': { router: 'top-k', k: 4, experts: 8, capacity: '1x' },
    '4 top-1 1x': { router: 'prototype', prototypes: 4, k: 1, experts: 8, capacity: '1x' },
  }
  const loads = { even: [1, 1, 1, 1, 1, 1, 1, 1], uneven: [3, 1, 2, 1, 0.5, 1, 0.5, 1] }
  for (const [name, moe] of Object.entries(settings))
    test(`${name}, with an even and an uneven load, unlike with the priorities choice and token`, async () => {
      for (const [load, popularity] of Object.entries(loads)) {
        const given = { moe, groups: GROUPS, sequences: SEQUENCES, sequence: SEQUENCE }
        const drawn = draw(given, testRandom(7), popularity)
        const by = async (priority: 'position' | 'choice' | 'token') => {
          const { position, capacity } = await placed({ ...given, moe: { ...moe, priority, window: 4 } }, drawn)
          return unevenness(position, capacity, drawn.choices)
        }
        const fair = await by('position')
        expect(fair.sequence, `${load}: by sequence`).toBeLessThan(NOISE)
        expect(fair.position, `${load}: by position`).toBeLessThan(NOISE)
        // An even load below capacity has no drops.
        if (load === 'even' && moe.capacity === 'kx') continue
        for (const priority of ['choice', 'token'] as const)
          expect((await by(priority)).sequence, `${load}: ${priority}`).toBeGreaterThan(2 * NOISE)
      }
    })
})
