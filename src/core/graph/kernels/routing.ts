/**
 * Kernels of routers: T tokens with K choices each in G equal groups of tokens, N experts. Indices and counts are
 * int32, without a gradient.
 */
import { dim } from '../shape.ts'
import { declareKernel } from './declaration.ts'

export type RouterAttributes = {
  /** Equal groups of tokens for the balancing loss. */
  readonly groups: number
  readonly prototypes: number
  /** Choices in each prototype. */
  readonly k: number
  /** Whether the balancing loss counts first choices only (GShard). */
  readonly first: 0 | 1
  readonly tokens: number
}

/** Number of bands of about 128 tokens in a group. Sums for the losses are computed for each band, then added up. */
export const bandsPerGroup = (tokens: number, groups: number): number => Math.max(1, Math.ceil(tokens / groups / 128))

/**
 * Routes tokens by their logits [T, Z, n] for n experts in each of Z prototypes. The results are the softmax in each
 * prototype and log Σ exp [T, Z]; the k most probable experts of every prototype, by their index over all N = Z·n, and
 * their probabilities [T, Z·k]; and the sums over the tokens of each band that the losses need, float64
 * [bands, 2·N + 2].
 */
export const routeTokens = declareKernel({
  name: 'route-tokens',
  inputs: ['logits_TZN'],
  outputs: ['probability_TZN', 'logSum_TZ', 'expert_TK', 'gate_TK', 'sums'],
  results: ({ logits_TZN: { dtype, shape } }, { groups, prototypes, k, tokens }: RouterAttributes) => ({
    probability_TZN: { dtype, shape },
    logSum_TZ: { dtype, shape: [tokens, prototypes] },
    expert_TK: { dtype: 'int32', shape: [tokens, prototypes * k] },
    gate_TK: { dtype, shape: [tokens, prototypes * k] },
    sums: { dtype: 'float64', shape: [groups * bandsPerGroup(tokens, groups), 2 * prototypes * dim(shape, 2) + 2] },
  }),
  local: true,
})

/**
 * The losses from the sums of {@link routeTokens}, as scalars: balance (the mean of N · Σ f·P over groups and
 * prototypes), z (the mean of logsumexp²), and entropy; and n · f [G, N], each expert's share of the choices relative
 * to an even share.
 */
export const routerLosses = declareKernel({
  name: 'router-losses',
  inputs: ['sums'],
  outputs: ['balance', 'z', 'entropy', 'share_GN'],
  results: ({ sums }, { groups }: RouterAttributes) => {
    const scalar = { dtype: 'float32', shape: [] } as const
    const share_GN = { dtype: 'float32', shape: [groups, (dim(sums.shape, 1) - 2) / 2] } as const
    return { balance: scalar, z: scalar, entropy: scalar, share_GN }
  },
  local: true,
})

/** The gradient of the logits from the gradients of the gates, of balance and of z. */
export const routeTokensGradient = declareKernel({
  name: 'route-tokens-gradient',
  inputs: ['probability_TZN', 'logSum_TZ', 'expert_TK', 'share_GN', 'dGate_TK', 'dBalance', 'dZ'],
  outputs: ['dLogits_TZN'],
  results: ({ probability_TZN }, _: RouterAttributes) => ({ dLogits_TZN: probability_TZN }),
  local: true,
})

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

/**
 * Packs kept choices, those at a position below the capacity, expert by expert and within an expert group by group, in
 * R rows. `sizes` int64 [N + 1] is the number of rows of each expert, padded to a multiple of the tile, then of unused
 * rows. The results for each choice [T, K] are its row (0 if it is dropped) and whether it is kept, 1 or 0 in float32.
 * The results for each row [R] are its choice t·K + k and its token (0 if the row is unused), and with a tile above 1
 * whether it is occupied, 1 or 0 in float32.
 */
export const packRows = declareKernel({
  name: 'pack-rows',
  inputs: ['expert_TK', 'position_TK', 'kept_GN'],
  outputs: ['sizes', 'rowOfChoice_TK', 'choiceOfRow_R', 'tokenOfRow_R', 'kept_TK', 'occupied_R?'],
  results: (
    { expert_TK: { shape }, kept_GN },
    { rows, tile }: { readonly capacity: number; readonly rows: number; readonly tile: number },
  ) => ({
    sizes: { dtype: 'int64', shape: [dim(kept_GN.shape, 1) + 1] },
    rowOfChoice_TK: { dtype: 'int32', shape },
    choiceOfRow_R: { dtype: 'int32', shape: [rows] },
    tokenOfRow_R: { dtype: 'int32', shape: [rows] },
    kept_TK: { dtype: 'float32', shape },
    occupied_R: tile > 1 ? { dtype: 'float32', shape: [rows] } : undefined,
  }),
  local: true,
})
