/**
 * Ops that move rows of tokens to experts and back.
 *
 * Think of *slots*: R rows, each of which holds one assignment (a token and one of its K choices),
 * grouped by expert. Dispatch gathers tokens by slot, combine gathers slots by token, and each is the
 * gradient of the other, so nothing is ever scattered. The index of a dropped assignment or an empty
 * slot is clamped to 0 and its weight is zero.
 */
import { emitKernel, hasKernel } from '../kernels/declaration.ts'
import * as experts from '../kernels/experts.ts'
import * as kernels from '../kernels/rows.ts'
import { dim } from '../shape.ts'
import { type Built, defineOp, emit, emitMany, kernelThreads, RAGGED, type Tensor } from '../tensor.ts'
import { subtreeLeaves } from '../tree.ts'
import { sumSources } from './all-to-all.ts'
import { add, multiply } from './elementwise.ts'
import { gather } from './indexing.ts'
import { rowSums } from './reduction.ts'
import { concat, reshape, slice } from './shape.ts'

/** The slot of every assignment. Indices are int32; masks are 0 or 1 in the dtype of the activations. */
export interface SlotMap {
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

/** Rows of tokens by slot: x [T, D] → [R, D]. Empty slots hold the row of an arbitrary token. */
export const dispatch: (x: Tensor, slots: SlotMap) => Tensor = defineOp(
  'dispatch',
  'expert',
  (x: Tensor, slots: SlotMap) => ({
    result: gatherRows(x, slots.tokenOfSlot),
    inputs: [x],
    gradient: (dy) => [dy && gatherWeighted(dy, slots.kept, slots)],
  }),
)

/** Rows of slots by token, weighted by gates: rows [R, D], gate [T, K] → Σ_k gate · row [T, D]. */
export const combine: (rows: Tensor, gate: Tensor, slots: SlotMap) => Tensor = defineOp(
  'combine',
  'expert',
  (rows: Tensor, gate: Tensor, slots: SlotMap) => {
    return {
      result: gatherWeighted(rows, gate, slots, slots.kept),
      inputs: [rows, gate],
      gradient: (dy) => (dy ? [gatherGated(dy, gate, slots), weightGradient(dy, rows, slots)] : []),
    }
  },
)

/** Rows of x [T, D] by index [R], times a weight [R] if given. */
function gatherRows(x: Tensor, index: Tensor, weight?: Tensor): Tensor {
  if (hasKernel(kernels.gatherRows, x.dtype)) return emitKernel(kernels.gatherRows, { x, index, weight }).y
  const rows = gather(x, index)
  return weight ? multiply(rows, asColumn(weight)) : rows
}

/** Rows of x [T, D] by slot [R], times the gate of the slot. */
function gatherGated(x: Tensor, gate: Tensor, slots: SlotMap): Tensor {
  const { tokenOfSlot: index, assignmentOfSlot: choice, occupied } = slots
  if (!hasKernel(kernels.gatherGatedRows, x.dtype)) return gatherRows(x, index, gateOfSlot(gate, slots))
  return emitKernel(kernels.gatherGatedRows, { x, index, gate, choice, occupied }).y
}

/** Gates [T, K] by slot [R], zero for an empty slot. `kept` is not needed: an assignment in a slot is kept. */
function gateOfSlot(gate: Tensor, { assignmentOfSlot, occupied }: SlotMap): Tensor {
  const ofSlot = gather(reshape(gate, [dim(gate.shape, 0) * dim(gate.shape, 1)]), assignmentOfSlot)
  return occupied ? multiply(ofSlot, occupied) : ofSlot
}

/** The gradient of Σ_k weight · row with respect to the weights [T, K]; zero for dropped assignments. */
function weightGradient(dy: Tensor, rows: Tensor, { slotOfAssignment, kept }: SlotMap): Tensor {
  if (hasKernel(kernels.rowDots, dy.dtype) && rows.shape[0] !== RAGGED)
    return emitKernel(kernels.rowDots, { dy, rows, slot: slotOfAssignment, kept }).dots
  const columns = Array.from({ length: dim(slotOfAssignment.shape, 1) }, (_, k) =>
    rowSums(multiply(dy, gather(rows, column(slotOfAssignment, k)))),
  )
  const gradient = concat(columns, 1)
  return kept ? multiply(gradient, kept) : gradient
}

/** Σ_k weight[t, k] · kept[t, k] · rows[slot[t, k]]; both default to 1. */
function gatherWeighted(rows: Tensor, gate: Tensor | undefined, slots: SlotMap, kept?: Tensor): Tensor {
  const { slotOfAssignment: slot } = slots
  if (hasKernel(kernels.combineRows, rows.dtype) && rows.shape[0] !== RAGGED)
    return emitKernel(kernels.combineRows, { rows, slot, weight: gate, kept }).y
  const weight = gate && kept ? multiply(gate, kept) : gate
  const terms = Array.from({ length: dim(slot.shape, 1) }, (_, k) => {
    const chosen = gather(rows, column(slot, k))
    return weight ? multiply(chosen, asColumn(column(weight, k))) : chosen
  })
  return terms.reduce((total, term) => add(total, term))
}

/** Slots that are packed expert by expert, so that nothing is computed for empty slots. */
export interface RaggedSlotMap extends SlotMap {
  /** Number of slots of each expert, then of unused ones: int64 [N + 1], known at run time. */
  readonly sizes: Tensor
}

/** Splits a vector over slots [R] into one part [?] for each expert. */
function byExpert(ofSlot: Tensor, { sizes }: RaggedSlotMap): Tensor[] {
  const part = { dtype: ofSlot.dtype, shape: [RAGGED] }
  const parts = Array.from({ length: dim(sizes.shape, 0) }, () => part)
  return emitMany('Split', [ofSlot, sizes], parts, { attributes: { axis: 0 } }).slice(0, -1)
}

/** The rows of all experts, concatenated. */
const join = (rows: readonly Tensor[]): Tensor =>
  emit('Concat', rows, { shape: [RAGGED, ...(rows[0] as Tensor).shape.slice(1)], attributes: { axis: 0 } })

/** Rows of tokens for each expert: x [T, D] → N ragged pieces [?, D]. */
export const dispatchRagged: (x: Tensor, slots: RaggedSlotMap) => readonly Tensor[] = defineOp(
  'dispatch-ragged',
  'expert',
  (x: Tensor, slots: RaggedSlotMap) => {
    const pieces = byExpert(slots.tokenOfSlot, slots).map((tokens) => gather(x, tokens))
    return {
      result: pieces,
      inputs: [x],
      gradient: (...dys) => [
        gatherWeighted(join(dys.map((dy, e) => dy ?? multiply(pieces[e] as Tensor, 0))), slots.kept, slots),
      ],
    }
  },
)

/** Rows of each expert by token, weighted by gates: N pieces [?, D], gate [T, K] → [T, D]. */
export const combineRagged: (pieces: readonly Tensor[], gate: Tensor, slots: RaggedSlotMap) => Tensor = defineOp(
  'combine-ragged',
  'expert',
  (pieces: readonly Tensor[], gate: Tensor, slots: RaggedSlotMap) => {
    const rows = join(pieces)
    return {
      result: gatherWeighted(rows, gate, slots, slots.kept),
      inputs: [...pieces, gate],
      gradient: (dy) => {
        if (!dy) return []
        const weights = byExpert(gateOfSlot(gate, slots), slots)
        const dPieces = byExpert(slots.tokenOfSlot, slots).map((tokens, e) =>
          multiply(gather(dy, tokens), asColumn(weights[e] as Tensor)),
        )
        return [...dPieces, weightGradient(dy, rows, slots)]
      },
    }
  },
)

/** How gradients of experts' weights are summed if rows come from several ranks. */
export interface WeightSums {
  /** Whether the gradient of each source rank is kept, for callers that add them later (`sourcesOf`). */
  readonly bySource: boolean
}

/**
 * Number of source ranks whose gradients of an expert's weights a kernel adds to one sum: all ranks, or so few that
 * there are enough sums for all threads.
 */
export const sourcesOfSum = (sources: number, experts: number, threads: number): number =>
  subtreeLeaves(sources, threads === 1 ? 1 : Math.ceil((2 * threads) / experts))

/** The sums in which a kernel leaves the gradients of the weights [n, ...] of experts. */
function sourceSums(weights: Tensor, sizes: Tensor, { bySource }: WeightSums): experts.SourceSums {
  const count = dim(weights.shape, 0)
  const sources = (dim(sizes.shape, 0) - 1) / count
  const leaves = bySource ? 1 : sourcesOfSum(sources, count, kernelThreads())
  return { leaves, parts: Math.ceil(sources / leaves), sources }
}

/**
 * The product x·W of every expert over its rows, as a kernel: rows [R, D], weights [n, D, X] → [R, X]. Sizes are by
 * expert, or by source rank and expert. Result rows of unused slots are not written.
 */
export const expertLinearKernel: (rows: Tensor, weights: Tensor, sizes: Tensor, sums?: WeightSums) => Tensor = defineOp(
  'expert-linear-kernel',
  'kernel',
  (rows: Tensor, weights: Tensor, sizes: Tensor, sums: WeightSums = { bySource: false }): Built<Tensor> => {
    return {
      result: emitKernel(experts.expertLinear, { rows, sizes, weights }).y,
      inputs: [rows, weights],
      gradient: (dy) => {
        if (!dy) return []
        const by = sourceSums(weights, sizes, sums)
        const { dRows, dWeights } = emitKernel(experts.expertLinearGradient, { dy, rows, sizes, weights }, by)
        return [dRows, by.parts === 1 ? dWeights : sumSources(dWeights)]
      },
    }
  },
)

/** Weights of the experts on this rank. */
export interface ExpertWeights {
  /** [N, D, F] */
  readonly up: Tensor
  /** [N, D, F], for SwiGLU. */
  readonly gate?: Tensor
  /** [N, F, D] */
  readonly down: Tensor
}

/**
 * The feed-forward networks of all experts over their rows [R, D], as a kernel: gelu(x·up)·down, or
 * (swish(x·gate) ∘ x·up)·down. Sizes are by expert, or by source rank and expert. Result rows of unused slots are not
 * written.
 */
export const expertFfnKernel: (rows: Tensor, weights: ExpertWeights, sizes: Tensor, sums?: WeightSums) => Tensor =
  defineOp(
    'expert-ffn-kernel',
    'kernel',
    (
      rows: Tensor,
      { up, gate, down }: ExpertWeights,
      sizes: Tensor,
      sums: WeightSums = { bySource: false },
    ): Built<Tensor> => {
      const matrices = { up, gate, down }
      const { y, inner, innerGate } = emitKernel(experts.expertFfn, { rows, sizes, ...matrices })
      return {
        result: y,
        inputs: [rows, up, ...(gate ? [gate] : []), down],
        gradient: (dy) => {
          if (!dy) return []
          const by = sourceSums(up, sizes, sums)
          const { dRows, dUp, dGate, dDown } = emitKernel(
            experts.expertFfnGradient,
            { dy, rows, sizes, ...matrices, inner, innerGate },
            by,
          )
          const gradients = [dUp, ...(dGate ? [dGate] : []), dDown]
          return [dRows, ...(by.parts === 1 ? gradients : gradients.map((gradient) => sumSources(gradient)))]
        },
      }
    },
  )
