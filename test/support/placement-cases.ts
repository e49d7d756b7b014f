/** Test cases of kernels that place choices in queues and rows; the graph without kernels gives the same integers. */
import fc from 'fast-check'
import type { MoeConfig } from '../../src/core/model/config/moe-config.ts'
import { modelSchema } from '../../src/core/model/config.ts'
import { capacityOf, placeChoices } from '../../src/core/model/routing/capacity.ts'
import { raggedSlots } from '../../src/core/model/routing/slots.ts'
import * as g from '../../src/faces/library/graph.ts'
import { testRandom } from './gradient-check.ts'
import type { Dtype, KernelCase } from './kernel-check.ts'

interface PlacementCase extends Partial<Pick<MoeConfig, 'priority' | 'window' | 'factor' | 'groups'>> {
  /** Number of sequences in a group. */
  readonly sequences: number
  readonly sequence: number
  readonly prototypes: number
  /** Number of experts of a prototype, and of choices among them. */
  readonly experts: number
  readonly k: number
  readonly dropless?: boolean
  readonly tile: number
  readonly seed: number
}

/** A case of choices whose gates have few levels, so that some are equal. */
function placementCase(given: PlacementCase): KernelCase {
  const { sequences, sequence, prototypes, experts, k, dropless = false, tile, seed, groups = 1, ...rule } = given
  const settings = { router: 'prototype', experts: prototypes * experts, prototypes, k, groups, hidden: 3, ...rule }
  const capacity = dropless ? 'none' : 'kx'
  const { moe } = modelSchema.parse({ width: 4, heads: 1, moe: { ...settings, capacity } }) as { moe: MoeConfig }
  const shape = [groups * sequences * sequence, prototypes * k]
  const byPosition = moe.priority === 'position' && capacityOf(moe, sequences * sequence, 'train') !== null
  const random = testRandom(seed)
  const chosen = Array.from({ length: shape[0] as number }, () =>
    Array.from({ length: prototypes }, (_, z) => {
      // The first experts are chosen more often.
      const first = Math.floor(random() ** 2 * experts)
      return Array.from({ length: k }, (_, j) => z * experts + ((first + j) % experts))
    }),
  ).flat(2)
  return {
    inputs: {
      expert: { shape, dtype: 'int32', values: (_, i) => chosen[i] as number },
      gate: { shape, values: (random) => Math.floor(random() * 3) / 4 },
    },
    build({ expert, gate }, dtype: Dtype) {
      const choice = { expert_TK: expert as g.Tensor, gate_TK: gate as g.Tensor }
      const placement = placeChoices(moe, choice, { groups, sequence, rule: 'train' })
      const { position_TK, count_GN, kept_GN } = placement
      const plan = raggedSlots(choice, placement, moe.experts, tile)
      const { sizes, tokenOfSlot, assignmentOfSlot, slotOfAssignment, kept, occupied } = plan
      const integers = [position_TK, count_GN, kept_GN, sizes, tokenOfSlot, assignmentOfSlot, slotOfAssignment]
      return [
        ...integers.map((tensor) => g.cast(tensor, dtype)),
        ...(kept ? [kept] : []),
        ...(occupied ? [occupied] : []),
      ]
    },
    kernels: ['pack-rows', byPosition ? 'place-by-position' : 'place-in-queues'],
    forward: true,
  }
}

export const specialPlacements: readonly KernelCase[] = [
  placementCase({ sequences: 1, sequence: 1, prototypes: 1, experts: 1, k: 1, tile: 1, seed: 1 }),
  placementCase({ sequences: 1, sequence: 2, prototypes: 1, experts: 2, k: 1, factor: 0.5, tile: 1, seed: 2 }),
  ...(['position', 'choice', 'token'] as const).flatMap((priority, i) => [
    placementCase({ priority, sequences: 3, sequence: 17, prototypes: 1, experts: 5, k: 2, tile: 8, seed: 3 + i }),
    placementCase({
      priority,
      sequences: 4,
      sequence: 30,
      prototypes: 3,
      experts: 4,
      k: 2,
      tile: 4,
      seed: 6 + i,
      groups: 2,
    }),
    placementCase({
      priority,
      sequences: 2,
      sequence: 64,
      prototypes: 2,
      experts: 8,
      k: 1,
      factor: 0.6,
      tile: 1,
      seed: 9 + i,
    }),
    placementCase({
      priority,
      sequences: 2,
      sequence: 19,
      prototypes: 1,
      experts: 3,
      k: 3,
      dropless: true,
      tile: 2,
      seed: 12 + i,
    }),
  ]),
  placementCase({
    sequences: 8,
    sequence: 40,
    prototypes: 1,
    experts: 6,
    k: 3,
    window: 3,
    factor: 0.4,
    tile: 8,
    seed: 15,
  }),
]

const integer = (min: number, max: number) => fc.integer({ min, max })

export const drawnPlacements: fc.Arbitrary<KernelCase> = fc
  .record({
    priority: fc.constantFrom('position' as const, 'choice' as const, 'token' as const),
    window: integer(1, 20),
    factor: fc.constantFrom(0.3, 1, 1.25, 2),
    groups: integer(1, 3),
    sequences: integer(1, 6),
    sequence: integer(2, 40),
    prototypes: integer(1, 3),
    experts: integer(2, 9),
    k: integer(1, 2),
    dropless: fc.boolean(),
    tile: fc.constantFrom(1, 4, 8),
    seed: integer(1, 1000),
  })
  .map(placementCase)
