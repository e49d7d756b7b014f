/**
 * The rules of `priority: position`, an order of service that neither depends on later positions nor starves a
 * sequence.
 *
 * Choices are served by position; within a position one sequence after another, and a token's best choice first. For
 * the choices of rank j, at each expert and position s,
 *
 *     has(j, s)   = saved(j, s − 1) + income(j, s)          income(0, s) = earned(s)
 *     kept(j, s)  = min(wanted(j, s), has(j, s))            income(j + 1, s + 1) = over(j, s)
 *     saved(j, s) = min(D, has(j, s) − kept(j, s)),    over(j, s) = has(j, s) − kept(j, s) − saved(j, s)
 *
 * with `earned`, D and the first `saved` from `allowance.ts`. So a choice is kept or dropped depending on choices of
 * its own rank at its position and on earlier positions, never on later ones.
 *
 * No expert takes more than C: summed over all ranks and positions, income is the earned places plus the overflow, and
 * each place that is not kept is saved or overflows once. So Σ kept ≤ Σ earned + Σ start = C.
 *
 * Some runtimes have kernels that loop over the positions. Otherwise the graph has no loop: from one position to the
 * next, `saved` changes by x → min(D, max(0, x + d)) with d = income − wanted. The composition of two such maps has the
 * same form, so log₂ S steps compose them all.
 */
import { add, less, maximum, minimum, subtract, where } from '../../graph/ops/elementwise.ts'
import { gather, scatterAlong, takeAlong } from '../../graph/ops/indexing.ts'
import { cumulativeSum, topK } from '../../graph/ops/order.ts'
import { sum } from '../../graph/ops/reduction.ts'
import {
  placeByPosition as byPosition,
  hasBuckets,
  keptInBuckets,
  placesChoices,
  queuePositions,
  type Served,
} from '../../graph/ops/routing.ts'
import { concat, reshape, slice, transpose } from '../../graph/ops/shape.ts'
import { constant, type Tensor } from '../../graph/tensor.ts'
import type { MoeConfig } from '../config/moe-config.ts'
import { type Allowance, allowanceOf, serviceOrder } from './allowance.ts'
import type { Choice, Placement, QueueInput } from './contract.ts'

/** Places choices by position. In the shape suffixes here, B is the number of sequences in one group. */
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
  if (placesChoices()) {
    const gate_TK = moe.prototypes === 1 ? null : choice.gate_TK
    const earned_SN = constant(allowance.earned_SN, 'int32', [sequence, experts])
    const tensors = { expert_TK: choice.expert_TK, earned_SN, order: constant(order, 'int32'), gate_TK }
    return { ...byPosition(tensors, { groups, experts, capacity, ...allowance }), capacity }
  }
  const ranks = ranksOf(moe, choice)

  const byRank = ranks ? takeAlong(choice.expert_TK, ranks, 1) : choice.expert_TK
  const expert_GKSB = toServiceOrder(byRank, order, [groups, choices, sequence, sequences])
  const [before_GKSB, wanted_GKSN] = queuePositions(expert_GKSB, experts)
  const { kept_GKSN, ahead_GKSN, count_GN, kept_GN } = serve(wanted_GKSN, allowance)

  const cells = groups * choices * sequence * experts
  const rowStart = Int32Array.from({ length: cells / experts }, (_, i) => i * experts)
  const cell_GKSB = add(expert_GKSB, constant(rowStart, 'int32', [groups, choices, sequence, 1]))
  const at = (table_GKSN: Tensor) => gather(reshape(table_GKSN, [cells]), cell_GKSB)
  const position_GKSB = where(
    less(before_GKSB, at(kept_GKSN)),
    add(before_GKSB, at(ahead_GKSN)),
    constant(capacity, 'int32'),
  )
  const position_TK = fromServiceOrder(position_GKSB, order)
  return {
    position_TK: ranks ? scatterAlong(position_TK, ranks, 1, choices) : position_TK,
    count_GN,
    kept_GN,
    capacity,
  }
}

/**
 * The choice of a token at each rank [T, K]: the larger gate comes first, and of equal gates the earlier choice. Null
 * for one prototype, where choices are already in the router's order of preference.
 */
const ranksOf = ({ prototypes }: MoeConfig, { gate_TK }: Choice): Tensor | null =>
  prototypes === 1 ? null : topK(gate_TK, gate_TK.shape[1] as number)[1]

/** Rows [T, K] in order of service, as [G, K, S, B]. */
function toServiceOrder(x_TK: Tensor, order: Int32Array, shape: readonly [number, number, number, number]): Tensor {
  const [groups, choices, sequence, sequences] = shape
  const served = gather(x_TK, constant(rowsOf(order, groups), 'int32'))
  return transpose(reshape(served, [groups, sequence, sequences, choices]), [0, 3, 1, 2])
}

/** The inverse of {@link toServiceOrder}. */
function fromServiceOrder(x_GKSB: Tensor, order: Int32Array): Tensor {
  const [groups, choices] = x_GKSB.shape as [number, number]
  const served = reshape(transpose(x_GKSB, [0, 2, 3, 1]), [groups * order.length, choices])
  const back = new Int32Array(order.length)
  order.forEach((token, rank) => {
    back[token] = rank
  })
  return gather(served, constant(rowsOf(back, groups), 'int32'))
}

/** The order within one group, repeated for all groups. */
const rowsOf = (order: Int32Array, groups: number): Int32Array =>
  Int32Array.from({ length: groups * order.length }, (_, t) => {
    const within = t % order.length
    return t - within + (order[within] as number)
  })

/** Decides which choices are kept. Kept choices are queued without gaps: by position, and within a position by rank. */
function serve(wanted_GKSN: Tensor, allowance: Allowance): Served {
  const [groups, choices, sequence, experts] = wanted_GKSN.shape as [number, number, number, number]
  const { earned_SN, maxSaved, start_K } = allowance
  if (hasBuckets())
    return keptInBuckets(wanted_GKSN, constant(earned_SN, 'int32', [sequence, experts]), { maxSaved, start_K })
  const kept_GKSN = keptOf(wanted_GKSN, allowance)
  const queued = reshape(transpose(kept_GKSN, [0, 2, 1, 3]), [groups, sequence * choices, experts])
  const ahead = reshape(cumulativeSum(queued, 1, { exclusive: true }), [groups, sequence, choices, experts])
  return {
    kept_GKSN,
    ahead_GKSN: transpose(ahead, [0, 2, 1, 3]),
    count_GN: sum(wanted_GKSN, { axes: [1, 2] }),
    kept_GN: sum(kept_GKSN, { axes: [1, 2] }),
  }
}

/** Number of choices kept for each rank, position and expert [G, K, S, N]. */
function keptOf(wanted_GKSN: Tensor, { earned_SN, maxSaved, start_K }: Allowance): Tensor {
  const [groups, , sequence, experts] = wanted_GKSN.shape as [number, number, number, number]
  const first = (places: number) =>
    filled(
      Array.from({ length: groups }, () => places),
      [1, 1, experts],
    )
  let income = constant(earned_SN, 'int32', [1, 1, sequence, experts])
  const kept = start_K.map((start, rank) => {
    const wanted = slice(wanted_GKSN, 1, rank, rank + 1)
    const saved = savedAfter(subtract(income, wanted), start, maxSaved)
    const has = add(shifted(saved, first(start)), income)
    const kept = minimum(wanted, has)
    if (rank < start_K.length - 1) income = shifted(subtract(subtract(has, kept), saved), first(0))
    return kept
  })
  return concat(kept, 1)
}

/** A constant [V, ...shape], filled with values[v] at index v. */
function filled(values: readonly number[], shape: readonly number[]): Tensor {
  const size = shape.reduce((product, length) => product * length, 1)
  const data = Int32Array.from({ length: values.length * size }, (_, i) => values[Math.floor(i / size)] as number)
  return constant(data, 'int32', [values.length, ...shape])
}

/** x [G, 1, S, N] moved to later positions by `by`, with `first` filling the gap. */
function shifted(x: Tensor, first: Tensor, by = 1): Tensor {
  const sequence = x.shape[2] as number
  return sequence === by ? first : concat([first, slice(x, 2, 0, sequence - by)], 2)
}

/**
 * The places saved after each position [G, 1, S, N], computed from changes of the same shape.
 *
 * A map x → min(hi, max(lo, x + d)) represents any number of positions; lo and hi are its values at 0 and at D, in
 * one tensor [2, G, S, N]. After the step of length h, the map of a position covers the 2h positions that end there.
 */
function savedAfter(change: Tensor, start: number, maxSaved: number): Tensor {
  const [groups, , sequence, experts] = change.shape as [number, number, number, number]
  const int = (value: number) => constant(value, 'int32')
  const ends = constant(Int32Array.of(0, maxSaved), 'int32', [2, 1, 1, 1])
  // Places saved before the first position count as a change at that position.
  const opening = constant(
    Int32Array.from({ length: sequence }, (_, s) => (s === 0 ? start : 0)),
    'int32',
    [1, 1, sequence, 1],
  )
  let d = reshape(add(change, opening), [1, groups, sequence, experts])
  let range = minimum(maximum(add(d, ends), int(0)), int(maxSaved))
  for (let h = 1; h < sequence; h *= 2) {
    // Before the first position nothing changes: the map keeps 0 and D.
    const [lo, hi] = [slice(range, 0, 0, 1), slice(range, 0, 1, 2)]
    range = minimum(maximum(add(shifted(range, filled([0, maxSaved], [groups, h, experts]), h), d), lo), hi)
    if (2 * h < sequence) d = add(shifted(d, filled([0], [groups, h, experts]), h), d)
  }
  return reshape(slice(range, 0, 0, 1), change.shape)
}
