/**
 * Kernels that move rows of T tokens to experts and back, and between ranks: K choices of each token, and R slots, each
 * of which holds the row of one choice (`../ops/expert.ts`).
 */
import { dim } from '../shape.ts'
import type { Tensor } from '../tensor.ts'
import { declareKernel } from './declaration.ts'

/** Rows of the width of `rows`, one for each element of `index`. */
const rowsFor = (rows: Tensor, index: Tensor) => ({
  dtype: rows.dtype,
  shape: [...index.shape, dim(rows.shape, 1)],
})

/** y = weight · x[index] [R, D], of x [T, D] and index int32 [R]; the weight [R] is 1 if absent. */
export const gatherRows = declareKernel({
  name: 'gather-rows',
  inputs: ['x', 'index', 'weight?'],
  outputs: ['y'],
  results: ({ x, index }) => ({ y: rowsFor(x, index) }),
  local: true,
})

/** y = gate[choice] · occupied · x[index] [R, D], of gate [T, K], choice int32 [R] and occupied [R], 1 if absent. */
export const gatherGatedRows = declareKernel({
  name: 'gather-gated-rows',
  inputs: ['x', 'index', 'gate', 'choice', 'occupied?'],
  outputs: ['y'],
  results: ({ x, index }) => ({ y: rowsFor(x, index) }),
  local: true,
})

/**
 * y = Σ_k weight · kept · rows[slot] [T, D], of rows [R, D], slot int32 [T, K], weight and kept [T, K], 1 if absent. A
 * choice with a factor of 0 was dropped: its slot and row are not read, and may hold anything.
 */
export const combineRows = declareKernel({
  name: 'combine-rows',
  inputs: ['rows', 'slot', 'weight?', 'kept?'],
  outputs: ['y'],
  results: ({ rows, slot }) => ({ y: { dtype: rows.dtype, shape: [dim(slot.shape, 0), dim(rows.shape, 1)] } }),
  addsTo: ['y'],
  local: true,
})

/**
 * dots = kept · (dy · rows[slot]) [T, K], of dy [T, D], rows [R, D], slot int32 [T, K] and kept [T, K], 1 if absent.
 */
export const rowDots = declareKernel({
  name: 'row-dots',
  inputs: ['dy', 'rows', 'slot', 'kept?'],
  outputs: ['dots'],
  results: ({ dy, slot }) => ({ dots: { dtype: dy.dtype, shape: slot.shape } }),
  local: true,
})

/**
 * Exchanges sizes between the ranks. `sizes` int64 [N + 1] is the number of rows that this rank sends to each expert,
 * then of its unused rows; `counts` [N] is the number of rows that arrive, by source rank and expert held here.
 */
export const allToAllSizes = declareKernel({
  name: 'all-to-all-sizes',
  inputs: ['sizes'],
  outputs: ['counts'],
  results: ({ sizes: { dtype, shape } }, _: { readonly ranks: number }) => ({
    counts: { dtype, shape: [dim(shape, 0) - 1] },
  }),
  local: true,
})

/**
 * The sizes of the rows that arrive, from their `counts` [N]: `arriving` [N + 1] has the number of unused rows of the
 * room after them. If rows are joined, `totals` [N/ranks + 1] has their number by expert alone. Fails if more than
 * `room` rows arrive; it is a kernel of its own, so that the run can continue here with more room.
 */
export const fitRows = declareKernel({
  name: 'fit-rows',
  inputs: ['counts'],
  outputs: ['arriving', 'totals?'],
  results: (
    { counts: { dtype, shape } },
    { ranks, joined }: { readonly ranks: number; readonly room: number; readonly joined: 0 | 1 },
  ) => ({
    arriving: { dtype, shape: [dim(shape, 0) + 1] },
    totals: joined ? { dtype, shape: [dim(shape, 0) / ranks + 1] } : undefined,
  }),
  local: true,
})

/**
 * The side of an all-to-all whose rows lie by expert, and by rank within an expert. Rows of the other side lie by rank.
 */
export type JoinedSide = 'sent' | 'received' | 'none'

/**
 * Starts to send rows [R, D] to the ranks of their experts, by the sizes `from`, and to receive rows by the sizes `to`.
 * The received rows [room, D] may be read after {@link awaitRows} with the ticket int32 [1].
 */
export const allToAllRows = declareKernel({
  name: 'all-to-all-rows',
  inputs: ['rows', 'from', 'to'],
  outputs: ['raw', 'ticket'],
  results: ({ rows }, { room }: { readonly ranks: number; readonly room: number; readonly joined: JoinedSide }) => ({
    raw: { dtype: rows.dtype, shape: [room, dim(rows.shape, 1)] },
    ticket: { dtype: 'int32', shape: [1] },
  }),
  local: true,
})

/** Waits for rows to arrive. The sent rows are an operand, so that their memory is not reused before they have left. */
export const awaitRows = declareKernel({
  name: 'await-rows',
  inputs: ['raw', 'ticket', 'sent'],
  outputs: ['rows'],
  results: ({ raw }) => ({ rows: raw }),
  overwrites: true,
  local: true,
})
