/**
 * Slots turn positions in queues into rows of the experts' input.
 *
 * In the padded layout, every expert has C slots in every group, some of them empty, for one batched matmul over
 * [N, G·C, D]. In the ragged layout, rows are packed expert by expert, so that nothing is computed for empty slots.
 */
import {
  add,
  cast,
  divide,
  greaterOrEqual,
  less,
  maximum,
  multiply,
  subtract,
  where,
} from '../../graph/ops/elementwise.ts'
import type { RaggedSlotMap, SlotMap } from '../../graph/ops/expert.ts'
import { gather, invertIndex } from '../../graph/ops/indexing.ts'
import { cumulativeSum } from '../../graph/ops/order.ts'
import { sum } from '../../graph/ops/reduction.ts'
import { packRows, packsRows } from '../../graph/ops/routing.ts'
import { concat, reshape, transpose } from '../../graph/ops/shape.ts'
import { constant, type Tensor } from '../../graph/tensor.ts'
import type { Choice, Placement } from './contract.ts'

/** Slots in a padded layout [N, G·C]. */
export function paddedSlots(choice: Choice, placement: Placement, experts: number): SlotMap {
  const { groups, tokens } = extent(choice, placement)
  const perGroup = placement.capacity ?? tokens / groups
  const queue = add(multiply(choice.expert_TK, groups), groupOf(tokens, groups))
  const slot_TK = add(multiply(queue, perGroup), placement.position_TK)
  return slotMap(choice, placement, slot_TK, experts * groups * perGroup, true)
}

/**
 * Packed slots, expert by expert and within an expert group by group. The rows of each expert are padded to a
 * multiple of `tile` with empty slots: this gives few different numbers of rows, all of them whole tiles of a
 * matrix unit.
 */
export function raggedSlots(choice: Choice, placement: Placement, experts: number, tile = 1): RaggedSlotMap {
  const { groups, tokens, choices } = extent(choice, placement)
  const { capacity, kept_GN } = placement
  const maxAssignments = Math.min(tokens * choices, capacity === null ? Infinity : experts * groups * capacity)
  const slots = maxAssignments + experts * (tile - 1)
  if (packsRows()) return packedSlots(choice, placement, slots, tile)
  const kept_NG = transpose(kept_GN, [1, 0])
  const tileSize = constant(tile, 'int32')
  const rows_N = sum(kept_NG, { axes: [1] })
  const size_N = tile === 1 ? rows_N : multiply(divide(add(rows_N, constant(tile - 1, 'int32')), tileSize), tileSize)
  const first_N = cumulativeSum(size_N, 0, { exclusive: true })
  const start_NG = add(reshape(first_N, [experts, 1]), cumulativeSum(kept_NG, 1, { exclusive: true }))
  const queue = add(multiply(choice.expert_TK, groups), groupOf(tokens, groups))
  const slot_TK = add(gather(reshape(start_NG, [experts * groups]), queue), placement.position_TK)
  const unused = subtract(constant([slots], 'int32'), sum(size_N, { axes: [0], keepDims: true }))
  const sizes = cast(concat([size_N, unused], 0), 'int64')
  return { ...slotMap(choice, placement, slot_TK, slots, tile > 1), sizes }
}

function packedSlots(
  { expert_TK }: Choice,
  { position_TK, kept_GN, capacity }: Placement,
  rows: number,
  tile: number,
): RaggedSlotMap {
  const packed = packRows(expert_TK, position_TK, kept_GN, { capacity, rows, tile })
  return {
    sizes: packed.sizes,
    tokenOfSlot: packed.tokenOfRow_R,
    assignmentOfSlot: packed.choiceOfRow_R,
    slotOfAssignment: packed.rowOfChoice_TK,
    ...(capacity !== null && { kept: packed.kept_TK }),
    ...(packed.occupied_R && { occupied: packed.occupied_R }),
  }
}

/**
 * The multiple to which the rows of experts are padded: at most `best`, and smaller if experts have few rows.
 * @param rows Mean number of rows of an expert.
 */
export function tileFor(rows: number, best: number): number {
  let tile = best
  while (tile > 1 && tile * 4 > rows) tile /= 2
  return tile
}

function extent(choice: Choice, placement: Placement) {
  const [tokens = 0, choices = 0] = choice.expert_TK.shape
  return { tokens, choices, groups: placement.count_GN.shape[0] as number }
}

/** Group of each token [T, 1]. */
const groupOf = (tokens: number, groups: number): Tensor =>
  constant(
    Int32Array.from({ length: tokens }, (_, t) => Math.floor(t / (tokens / groups))),
    'int32',
    [tokens, 1],
  )

function slotMap(choice: Choice, placement: Placement, slot_TK: Tensor, slots: number, hasEmpty: boolean): SlotMap {
  const { tokens, choices } = extent(choice, placement)
  const { capacity } = placement
  const fits = capacity === null ? undefined : less(placement.position_TK, constant(capacity, 'int32'))
  // A dropped choice gets an index past the end, which invertIndex discards.
  const target = fits ? where(fits, slot_TK, constant(slots, 'int32')) : slot_TK
  const assignment = invertIndex(reshape(target, [tokens * choices]), slots, -1)
  const assignmentOfSlot = maximum(assignment, constant(0, 'int32'))
  const dtype = choice.gate_TK.dtype
  return {
    assignmentOfSlot,
    tokenOfSlot: divide(assignmentOfSlot, constant(choices, 'int32')),
    slotOfAssignment: fits ? where(fits, slot_TK, constant(0, 'int32')) : slot_TK,
    ...(fits && { kept: cast(fits, dtype) }),
    ...(hasEmpty && { occupied: cast(greaterOrEqual(assignment, constant(0, 'int32')), dtype) }),
  }
}
