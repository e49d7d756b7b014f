/**
 * Places of choices in the queues of experts, and the rows where kept choices lie. Results are integers without a
 * gradient. As ONNX operators these ops are many passes over memory, so some runtimes have kernels for them.
 */
import { emitKernel, hasKernel } from '../kernels/declaration.ts'
import { packRows as packRowsKernel } from '../kernels/pack-rows.ts'
import * as kernels from '../kernels/queues.ts'
import { defineIndexOp, type Tensor } from '../tensor.ts'
import { multiply } from './elementwise.ts'
import { oneHot } from './indexing.ts'
import { cumulativeSum } from './order.ts'
import { sum } from './reduction.ts'

/**
 * Counts entries of queues. From the queue of each entry [..., A], a number below `queues`, it computes `before`
 * [..., A], how many earlier entries have the same queue, and `length` [..., queues], how many entries each queue has.
 * All are int32.
 */
export const queuePositions: (queue: Tensor, queues: number) => readonly [before: Tensor, length: Tensor] =
  defineIndexOp('queue-positions', 'order', (queue: Tensor, queues: number) => {
    const axis = queue.shape.length - 1
    if (hasKernel(kernels.queuePositions)) {
      const { before, length } = emitKernel(kernels.queuePositions, { queue }, { queues })
      return [before, length]
    }
    const mark = oneHot(queue, queues, 'int32')
    const before = sum(multiply(mark, cumulativeSum(mark, axis, { exclusive: true })), { axes: [axis + 1] })
    return [before, sum(mark, { axes: [axis] })]
  })

/** Places of choices in the queues of experts, int32. */
export interface Places {
  /** Position of each choice in the queue of its expert [T, K]. */
  readonly position_TK: Tensor
  /** Number of choices of each expert, and of those that it keeps [G, N]. */
  readonly count_GN: Tensor
  readonly kept_GN: Tensor
}

export interface QueueRule {
  /** Equal groups G of consecutive tokens. */
  readonly groups: number
  readonly experts: number
  /** Number of choices of a group that an expert keeps; null: all. */
  readonly capacity: number | null
}

/** The capacity of kernels that keep all choices: no position is as large. */
const NO_CAPACITY = 2 ** 31 - 1
const numbersOf = ({ capacity, ...rule }: QueueRule) => ({ ...rule, capacity: capacity ?? NO_CAPACITY })

/** Whether the runtime that we trace for has {@link placeInQueues} and {@link placeByPosition}. */
export const placesChoices = (): boolean => hasKernel(kernels.placeInQueues)

/**
 * Places in queues that are in the order of the tokens. With `byChoice`, the first of the k choices that a token makes
 * in its prototypes come before all second choices.
 */
export const placeInQueues: (
  expert_TK: Tensor,
  rule: QueueRule & { readonly byChoice: boolean; readonly k: number },
) => Places = defineIndexOp(
  'place-in-queues',
  'order',
  (expert_TK: Tensor, { byChoice, k, ...rule }: QueueRule & { readonly byChoice: boolean; readonly k: number }) =>
    emitKernel(kernels.placeInQueues, { expert_TK }, { ...numbersOf(rule), byChoice: byChoice ? 1 : 0, k }),
)

/**
 * Places by the rules of `src/core/model/routing/by-position.ts`.
 * @param earned_SN Places that each expert earns at each position.
 * @param order Order in which the tokens of a group are served [T / G].
 * @param gate_TK Gates that rank the choices of a token; null: the choices are in order.
 */
export const placeByPosition: (
  tensors: {
    readonly expert_TK: Tensor
    readonly earned_SN: Tensor
    readonly order: Tensor
    readonly gate_TK: Tensor | null
  },
  rule: QueueRule & BucketRule,
) => Places = defineIndexOp(
  'place-by-position',
  'order',
  (
    {
      expert_TK,
      earned_SN,
      order,
      gate_TK,
    }: {
      readonly expert_TK: Tensor
      readonly earned_SN: Tensor
      readonly order: Tensor
      readonly gate_TK: Tensor | null
    },
    { maxSaved, start_K, ...rule }: QueueRule & BucketRule,
  ) => {
    const operands = { expert_TK, earned_SN, order, gate_TK: gate_TK ?? undefined }
    return emitKernel(kernels.placeByPosition, operands, { ...numbersOf(rule), maxSaved, start: start_K })
  },
)

/** Whether the runtime that we trace for has {@link keptInBuckets}. */
export const hasBuckets = (): boolean => hasKernel(kernels.keptInBuckets)

export interface BucketRule {
  /** Largest number of places that a bucket carries from one position to the next. */
  readonly maxSaved: number
  /** Places in the bucket of each rank (first choices, second choices, ...) before the first position [K]. */
  readonly start_K: readonly number[]
}

/** Choices of experts along the positions of a sequence, int32. */
export interface Served {
  /** Kept choices of each rank, position and expert. */
  readonly kept_GKSN: Tensor
  /** Kept choices before these: at earlier positions, and of earlier ranks at the same position. */
  readonly ahead_GKSN: Tensor
  /** Number of all wanted choices, and of all kept choices. */
  readonly count_GN: Tensor
  readonly kept_GN: Tensor
}

/**
 * Decides which of the choices wanted at each rank, position and expert, int32 [G, K, S, N], are kept, if experts earn
 * the places int32 [S, N]. It is one pass over the positions (`src/core/model/routing/by-position.ts` has the rules).
 */
export const keptInBuckets: (wanted_GKSN: Tensor, earned_SN: Tensor, rule: BucketRule) => Served = defineIndexOp(
  'kept-in-buckets',
  'order',
  (wanted_GKSN: Tensor, earned_SN: Tensor, { maxSaved, start_K }: BucketRule) =>
    emitKernel(kernels.keptInBuckets, { wanted_GKSN, earned_SN }, { maxSaved, start: start_K }),
)

/** Whether the runtime that we trace for has {@link packRows}. */
export const packsRows = (): boolean => hasKernel(packRowsKernel)

export interface PackedRows {
  /** Number of rows of each expert, then of unused rows: int64 [N + 1]. */
  readonly sizes: Tensor
  /** Row of each choice [T, K]; 0 if the choice is dropped. */
  readonly rowOfChoice_TK: Tensor
  /** Choice t·K + k, and token, of each row [R]; 0 if the row is unused. */
  readonly choiceOfRow_R: Tensor
  readonly tokenOfRow_R: Tensor
  /** Whether each choice is kept: 1 or 0, float32 [T, K]. */
  readonly kept_TK: Tensor
  /** Whether each row has a choice: 1 or 0, float32 [R]; null if all rows of experts have one. */
  readonly occupied_R: Tensor | null
}

export interface PackingRule {
  readonly capacity: number | null
  /** Number of rows, R. */
  readonly rows: number
  /** Multiple to which the rows of each expert are padded; 1 for runtimes whose `kernelTile` is 1. */
  readonly tile: number
}

/**
 * Packs kept choices expert by expert, and within an expert group by group, in R rows.
 * @param position_TK Position of each choice in the queue of its expert; from `capacity` on, choices are dropped.
 * @param kept_GN Choices that each expert keeps of each group of tokens.
 */
export const packRows: (expert_TK: Tensor, position_TK: Tensor, kept_GN: Tensor, rule: PackingRule) => PackedRows =
  defineIndexOp(
    'pack-rows',
    'order',
    (expert_TK: Tensor, position_TK: Tensor, kept_GN: Tensor, { capacity, rows, tile }: PackingRule) => {
      const attributes = { capacity: capacity ?? NO_CAPACITY, rows, tile }
      const { occupied_R, ...packed } = emitKernel(packRowsKernel, { expert_TK, position_TK, kept_GN }, attributes)
      return { ...packed, occupied_R: occupied_R ?? null }
    },
  )
