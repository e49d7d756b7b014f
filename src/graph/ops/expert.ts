/**
 * Moving token rows to experts and back.
 *
 * Think of *slots*: R places, each of which holds the row of one assignment (a token and one of its
 * K choices), grouped by expert. Dispatch is a gather of tokens by slot, combine is a gather of slots
 * by token, and each is the other's gradient: nothing is ever scattered. An index that points nowhere
 * (a dropped assignment, an empty slot) is clamped to 0 and its weight is zero.
 */
import { dim } from '../shape.ts'
import { constant, defineOp, emit, emitMany, RAGGED, type Tensor } from '../tensor.ts'
import { add, multiply } from './elementwise.ts'
import { gather } from './indexing.ts'
import { rowSums } from './reduction.ts'
import { concat, reshape, slice } from './shape.ts'

/** Where assignments lie. Indices are int32; masks are 0 or 1 in the dtype of the activations. */
export interface SlotPlan {
  /** Token of each slot [R]. */
  readonly tokenOfSlot: Tensor
  /** Assignment t·K + k of each slot [R]. */
  readonly assignmentOfSlot: Tensor
  /** Slot of each assignment [T, K]. */
  readonly slotOfAssignment: Tensor
  /** Which slots hold an assignment [R]; absent when all do. */
  readonly occupied?: Tensor
  /** Which assignments have a slot [T, K]; absent when all do. */
  readonly kept?: Tensor
}

/** Column k of [T, K] as [T]. */
const column = (x: Tensor, k: number): Tensor => reshape(slice(x, 1, k, k + 1), [dim(x.shape, 0)])
const asColumn = (x: Tensor): Tensor => reshape(x, [...x.shape, 1])

/** Rows of tokens by slot: x [T, D] → [R, D]. Empty slots hold the row of some token. */
export const dispatch: (x: Tensor, plan: SlotPlan) => Tensor = defineOp(
  'dispatch',
  'expert',
  (x: Tensor, plan: SlotPlan) => ({
    result: gather(x, plan.tokenOfSlot),
    inputs: [x],
    gradient: (dy) => [dy && gatherWeighted(dy, plan.kept, plan)],
  }),
)

/** Rows of slots by token, weighted by gates: rows [R, D], gate [T, K] → Σ_k gate · row [T, D]. */
export const combine: (rows: Tensor, gate: Tensor, plan: SlotPlan) => Tensor = defineOp(
  'combine',
  'expert',
  (rows: Tensor, gate: Tensor, plan: SlotPlan) => {
    const [tokens, choices] = [dim(gate.shape, 0), dim(gate.shape, 1)]
    const weight = plan.kept ? multiply(gate, plan.kept) : gate
    return {
      result: gatherWeighted(rows, weight, plan),
      inputs: [rows, gate],
      gradient: (dy) => {
        if (!dy) return []
        const weightOfSlot = gather(reshape(weight, [tokens * choices]), plan.assignmentOfSlot)
        const masked = plan.occupied ? multiply(weightOfSlot, plan.occupied) : weightOfSlot
        const dRows = multiply(gather(dy, plan.tokenOfSlot), asColumn(masked))
        const dWeight = concat(
          Array.from({ length: choices }, (_, k) =>
            rowSums(multiply(dy, gather(rows, column(plan.slotOfAssignment, k)))),
          ),
          1,
        )
        return [dRows, plan.kept ? multiply(dWeight, plan.kept) : dWeight]
      },
    }
  },
)

/** Σ_k weight[t, k] · rows[slot[t, k]]; weight 1 when absent. */
function gatherWeighted(rows: Tensor, weight: Tensor | undefined, plan: SlotPlan): Tensor {
  const terms = Array.from({ length: dim(plan.slotOfAssignment.shape, 1) }, (_, k) => {
    const chosen = gather(rows, column(plan.slotOfAssignment, k))
    return weight ? multiply(chosen, asColumn(column(weight, k))) : chosen
  })
  return terms.reduce((total, term) => add(total, term))
}

/**
 * Cuts rows [R, D] into the ragged rows of each expert. `sizes` (int64 [N + 1]) are their numbers,
 * known at run time; the last is the number of rows left over, which no expert gets.
 */
export const splitRows: (rows: Tensor, sizes: Tensor) => readonly Tensor[] = defineOp(
  'split-rows',
  'expert',
  (rows: Tensor, sizes: Tensor) => {
    const piece = { dtype: rows.dtype, shape: [RAGGED, ...rows.shape.slice(1)] }
    const pieces = emitMany(
      'Split',
      [rows, sizes],
      Array.from({ length: dim(sizes.shape, 0) }, () => piece),
      { attributes: { axis: 0 } },
    )
    return {
      result: pieces.slice(0, -1),
      inputs: [rows],
      gradient: (...dys) => [
        joinRows(
          dys.map((dy, i) => dy ?? multiply(pieces[i] as Tensor, 0)),
          sizes,
          dim(rows.shape, 0),
        ),
      ],
    }
  },
)

/** The rows of all experts one after the other, then zeros up to `total` rows: the adjoint of `splitRows`. */
export const joinRows: (pieces: readonly Tensor[], sizes: Tensor, total: number) => Tensor = defineOp(
  'join-rows',
  'expert',
  (pieces: readonly Tensor[], sizes: Tensor, total: number) => {
    const [first] = pieces as readonly [Tensor]
    const width = first.shape.slice(1)
    const leftOver = emit('Slice', [sizes, constant([-1], 'int64'), constant([pieces.length + 1], 'int64')], {
      shape: [1],
    })
    const shape = emit('Concat', [leftOver, constant(width, 'int64')], {
      shape: [width.length + 1],
      attributes: { axis: 0 },
    })
    const zeros = emit('Expand', [constant(0, first.dtype), shape], { shape: [RAGGED, ...width] })
    return {
      result: emit('Concat', [...pieces, zeros], { shape: [total, ...width], attributes: { axis: 0 } }),
      inputs: pieces,
      gradient: (dy) => (dy ? splitRows(dy, sizes) : []),
    }
  },
)
