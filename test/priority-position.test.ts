/** Service by position: beside the witness on random loads, never above capacity, and fair to every place in a batch. */
import { describe, expect, test } from 'vitest'
import { constant } from '../src/graph/index.ts'
import { place } from '../src/model/routing/capacity.ts'
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

/** Choices drawn with weights `popularity`, k distinct in each prototype, and gates in decreasing order there. */
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
  const { position_TK, count_GN, kept_GN, capacity } = place(moe, choice, { groups, sequence, rule: 'train' })
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

/** Settings of a random case; every third is crowded on few experts. */
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
  test('keeps whom the definition keeps, walked through token by token, and never more than C', async () => {
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
          // Their places are 0, 1, 2, ...: rows of the expert without gaps.
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
