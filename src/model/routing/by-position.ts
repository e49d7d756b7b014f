/**
 * The order of service that neither sees the future nor starves a sequence: `priority: position`.
 *
 * Choices are served by position, at one position each sequence in turn; a token's best choice first. For rank j of
 * the choices of their tokens, at each expert and position s,
 *
 *     has(j, s)   = saved(j, s − 1) + income(j, s)          income(0, s) = earned(s)
 *     kept(j, s)  = min(wanted(j, s), has(j, s))            income(j + 1, s + 1) = over(j, s)
 *     saved(j, s) = min(D, has(j, s) − kept(j, s)),    over(j, s) = has(j, s) − kept(j, s) − saved(j, s)
 *
 * with `earned`, D and the first `saved` of `allowance.ts`. So what becomes of a choice depends on choices of its own
 * rank at its position, and on positions before it: on no later one.
 *
 * No expert takes more than C: summed over all ranks and positions, income is what was earned and what went over, and
 * each place that is not kept stays saved or goes over once. So Σ kept ≤ Σ earned + Σ start = C.
 *
 * The graph has no loop over positions. From one position to the next saved goes through x → min(D, max(0, x + d))
 * with d = income − wanted; two such maps after each other are one of their kind, so log₂ S steps compose them all.
 */
import { add, less, maximum, minimum, multiply, subtract, where } from '../../graph/ops/elementwise.ts'
import { gather, oneHot, scatterAlong, takeAlong } from '../../graph/ops/indexing.ts'
import { cumulativeSum, topK } from '../../graph/ops/order.ts'
import { sum } from '../../graph/ops/reduction.ts'
import { concat, reshape, slice, transpose } from '../../graph/ops/shape.ts'
import { constant, type Tensor } from '../../graph/tensor.ts'
import type { MoeConfig } from '../config.ts'
import { type Allowance, allowanceOf, serviceOrder } from './allowance.ts'
import type { Choice, Placement, QueueInput } from './contract.ts'

/** B: sequences of a group, in turn. */
export function placeByPosition(
  moe: MoeConfig,
  choice: Choice,
  { groups, sequence }: QueueInput,
  capacity: number,
): Placement {
  const { experts, window } = moe
  const [total = 0, choices = 0] = choice.expert_TK.shape
  const sequences = total / groups / sequence
  if (!Number.isInteger(sequences))
    throw new Error(`internal: ${total} tokens in ${groups} groups do not make whole sequences of ${sequence}`)
  const allowance = allowanceOf({ sequence, sequences, experts, choices, capacity, window })
  const order = serviceOrder(sequences, sequence)
  const ranks = ranksOf(moe, choice)

  const byRank = ranks ? takeAlong(choice.expert_TK, ranks, 1) : choice.expert_TK
  const expert_GKSB = serve(byRank, order, [groups, choices, sequence, sequences])
  const mark_GKSBN = oneHot(expert_GKSB, experts, 'int32')
  const before_GKSB = sum(multiply(mark_GKSBN, cumulativeSum(mark_GKSBN, 3, { exclusive: true })), { axes: [4] })
  const wanted_GKSN = sum(mark_GKSBN, { axes: [3] })
  const kept_GKSN = keptOf(wanted_GKSN, allowance)

  // Those kept stand position by position, and there by rank: queues without gaps.
  const cells = groups * choices * sequence * experts
  const inOrder = reshape(transpose(kept_GKSN, [0, 2, 1, 3]), [groups, sequence * choices, experts])
  const ahead = reshape(cumulativeSum(inOrder, 1, { exclusive: true }), [groups, sequence, choices, experts])
  const ahead_GKSN = transpose(ahead, [0, 2, 1, 3])
  const line = Int32Array.from({ length: cells / experts }, (_, i) => i * experts)
  const cell_GKSB = add(expert_GKSB, constant(line, 'int32', [groups, choices, sequence, 1]))
  const at = (table_GKSN: Tensor) => gather(reshape(table_GKSN, [cells]), cell_GKSB)
  const position_GKSB = where(
    less(before_GKSB, at(kept_GKSN)),
    add(before_GKSB, at(ahead_GKSN)),
    constant(capacity, 'int32'),
  )
  const position_TK = restore(position_GKSB, order)
  return {
    position_TK: ranks ? scatterAlong(position_TK, ranks, 1, choices) : position_TK,
    count_GN: sum(wanted_GKSN, { axes: [1, 2] }),
    kept_GN: sum(kept_GKSN, { axes: [1, 2] }),
    capacity,
  }
}

/**
 * Which choice of a token has each rank [T, K]: by gate, of equal gates the earlier choice. Null for one prototype:
 * there choices are in the router's own order, which is that of what it chooses by.
 */
const ranksOf = ({ prototypes }: MoeConfig, { gate_TK }: Choice): Tensor | null =>
  prototypes === 1 ? null : topK(gate_TK, gate_TK.shape[1] as number)[1]

/** [T, K] in order of service, as [G, K, S, B]. */
function serve(x_TK: Tensor, order: Int32Array, shape: readonly [number, number, number, number]): Tensor {
  const [groups, choices, sequence, sequences] = shape
  const served = gather(x_TK, constant(rowsOf(order, groups), 'int32'))
  return transpose(reshape(served, [groups, sequence, sequences, choices]), [0, 3, 1, 2])
}

/** The inverse of {@link serve}. */
function restore(x_GKSB: Tensor, order: Int32Array): Tensor {
  const [groups, choices] = x_GKSB.shape as [number, number]
  const served = reshape(transpose(x_GKSB, [0, 2, 3, 1]), [groups * order.length, choices])
  const back = new Int32Array(order.length)
  order.forEach((token, place) => {
    back[token] = place
  })
  return gather(served, constant(rowsOf(back, groups), 'int32'))
}

/** Rows within a group, for all groups. */
const rowsOf = (order: Int32Array, groups: number): Int32Array =>
  Int32Array.from({ length: groups * order.length }, (_, t) => {
    const within = t % order.length
    return t - within + (order[within] as number)
  })

/** How many of the choices of each rank, position and expert are kept [G, K, S, N]. */
function keptOf(wanted_GKSN: Tensor, { earned_SN, most, start_K }: Allowance): Tensor {
  const [groups, , sequence, experts] = wanted_GKSN.shape as [number, number, number, number]
  const first = (places: number) =>
    table(
      Array.from({ length: groups }, () => places),
      [1, 1, experts],
    )
  let income = constant(earned_SN, 'int32', [1, 1, sequence, experts])
  const kept = start_K.map((start, rank) => {
    const wanted = slice(wanted_GKSN, 1, rank, rank + 1)
    const saved = savedAfter(subtract(income, wanted), start, most)
    const has = add(later(saved, first(start)), income)
    const kept = minimum(wanted, has)
    if (rank < start_K.length - 1) income = later(subtract(subtract(has, kept), saved), first(0))
    return kept
  })
  return concat(kept, 1)
}

/** A constant [V, ...shape] that holds each of V values throughout its part. */
function table(values: readonly number[], shape: readonly number[]): Tensor {
  const size = shape.reduce((product, length) => product * length, 1)
  const data = Int32Array.from({ length: values.length * size }, (_, i) => values[Math.floor(i / size)] as number)
  return constant(data, 'int32', [values.length, ...shape])
}

/** Each position's row moved to the next; `first` for the first [G, 1, S, N]. */
function later(x: Tensor, first: Tensor, by = 1): Tensor {
  const sequence = x.shape[2] as number
  return sequence === by ? first : concat([first, slice(x, 2, 0, sequence - by)], 2)
}

/**
 * The places saved after each position [G, 1, S, N], from changes of the same shape.
 *
 * A map x → min(hi, max(lo, x + d)) stands for any number of positions; lo and hi are its values at 0 and at D, and
 * are held in one tensor [2, G, S, N]. After the step of length h each covers the 2h positions that end at its own.
 */
function savedAfter(change: Tensor, start: number, most: number): Tensor {
  const [groups, , sequence, experts] = change.shape as [number, number, number, number]
  const int = (value: number) => constant(value, 'int32')
  const ends = constant(Int32Array.of(0, most), 'int32', [2, 1, 1, 1])
  // Places saved before the first position count as a change at it.
  const opening = constant(
    Int32Array.from({ length: sequence }, (_, s) => (s === 0 ? start : 0)),
    'int32',
    [1, 1, sequence, 1],
  )
  let d = reshape(add(change, opening), [1, groups, sequence, experts])
  let range = minimum(maximum(add(d, ends), int(0)), int(most))
  for (let h = 1; h < sequence; h *= 2) {
    // Before the first position nothing changes: 0 and D stay as they are.
    const [lo, hi] = [slice(range, 0, 0, 1), slice(range, 0, 1, 2)]
    range = minimum(maximum(add(later(range, table([0, most], [groups, h, experts]), h), d), lo), hi)
    if (2 * h < sequence) d = add(later(d, table([0], [groups, h, experts]), h), d)
  }
  return reshape(slice(range, 0, 0, 1), change.shape)
}
