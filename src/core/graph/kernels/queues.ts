/**
 * Kernels that place choices in the queues of experts: T tokens with K choices each in G equal groups of tokens, N
 * experts. Indices and counts are int32, without a gradient.
 */
import { dim } from '../shape.ts'
import { declareKernel } from './declaration.ts'

/**
 * Counts entries of queues. From the queue of each entry [..., A] it computes `before` [..., A], how many earlier
 * entries have the same queue, and `length` [..., queues], how many entries each queue has.
 */
export const queuePositions = declareKernel({
  name: 'queue-positions',
  inputs: ['queue'],
  outputs: ['before', 'length'],
  results: ({ queue: { shape } }, { queues }: { readonly queues: number }) => ({
    before: { dtype: 'int32', shape },
    length: { dtype: 'int32', shape: [...shape.slice(0, -1), queues] },
  }),
})

/** Number of equal groups of tokens, number of experts, and how many choices of each group an expert keeps. */
type Queues = { readonly groups: number; readonly experts: number; readonly capacity: number }

const placesOf = (shape: readonly number[], { groups, experts }: Queues) =>
  ({
    position_TK: { dtype: 'int32', shape },
    count_GN: { dtype: 'int32', shape: [groups, experts] },
    kept_GN: { dtype: 'int32', shape: [groups, experts] },
  }) as const

/**
 * The position of each choice in the queue of its expert, the number of choices of each expert, and how many of them
 * are below the capacity. Queues are in the order of the tokens; with `byChoice`, the first of the k choices that a
 * token makes in its prototypes come before all second choices. The kernel is one pass over the choices, for a CPU. A
 * GPU has {@link queuePositions} instead, in which many invocations count at once.
 */
export const placeInQueues = declareKernel({
  name: 'place-in-queues',
  inputs: ['expert_TK'],
  outputs: ['position_TK', 'count_GN', 'kept_GN'],
  results: ({ expert_TK }, rule: Queues & { readonly byChoice: 0 | 1; readonly k: number }) =>
    placesOf(expert_TK.shape, rule),
  local: true,
})

/** Buckets, in which experts save the places that they earn along the positions of a sequence. */
export type BucketAttributes = {
  /** Largest number of places that a bucket carries from one position to the next. */
  readonly maxSaved: number
  /** Places in the bucket of each rank (first choices, second choices, ...) before the first position [K]. */
  readonly start: readonly number[]
}

/**
 * {@link placeInQueues} by the rules of `src/core/model/routing/by-position.ts`: experts earn places at each position
 * [S, N], and `order` [T / G] is the order of service of the tokens of a group. The gates [T, K] rank the choices of a
 * token; without them they are in order.
 */
export const placeByPosition = declareKernel({
  name: 'place-by-position',
  inputs: ['expert_TK', 'earned_SN', 'order', 'gate_TK?'],
  outputs: ['position_TK', 'count_GN', 'kept_GN'],
  results: ({ expert_TK }, rule: Queues & BucketAttributes) => placesOf(expert_TK.shape, rule),
  local: true,
})

/**
 * Decides which of the choices wanted at each rank, position and expert [G, K, S, N] are kept, if experts earn the
 * places [S, N]. `ahead` counts the kept choices before each: at earlier positions, and of earlier ranks at the same
 * position. The totals [G, N] count all wanted and all kept choices.
 */
export const keptInBuckets = declareKernel({
  name: 'kept-in-buckets',
  inputs: ['wanted_GKSN', 'earned_SN'],
  outputs: ['kept_GKSN', 'ahead_GKSN', 'count_GN', 'kept_GN'],
  results: ({ wanted_GKSN: { shape } }, _: BucketAttributes) => {
    const total = { dtype: 'int32', shape: [dim(shape, 0), dim(shape, 3)] } as const
    const all = { dtype: 'int32', shape } as const
    return { kept_GKSN: all, ahead_GKSN: all, count_GN: total, kept_GN: total }
  },
})
