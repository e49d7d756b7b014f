/**
 * The rows of experts: in which layout, and on which rank, they are computed.
 *
 * With kernels, rows are packed expert by expert. If ranks share the experts, the rows travel to the rank that holds
 * their expert and back (`src/core/graph/ops/all-to-all.ts`). Without kernels (in float64, and for prompts), `padded`
 * gives each expert the same number of rows and `ragged` computes the experts one after the other.
 */
import { allToAllSizes, sendRows } from '../graph/ops/all-to-all.ts'
import { combine, combineRagged, dispatch, dispatchRagged } from '../graph/ops/expert.ts'
import { reshape } from '../graph/ops/shape.ts'
import { dim } from '../graph/shape.ts'
import { kernelTile, scopeName, type Tensor } from '../graph/tensor.ts'
import type { MoeConfig } from './config/moe-config.ts'
import type { Experts } from './experts.ts'
import type { Choice, Placement } from './routing/contract.ts'
import { paddedSlots, raggedSlots, tileFor } from './routing/slots.ts'

/** Numbers of rows that layers without capacity have room for, by the name of the layer, if they need more at run time. */
export type Rooms = Pick<ReadonlyMap<string, number>, 'get'>

/** How ranks share the experts of a layer. */
export interface Sharing {
  /** Number of ranks E; each holds N/E experts. */
  readonly ranks: number
  /** Number of rows that a rank has room for without capacity, relative to an even load. */
  readonly headroom: number
  /** Layers with more room than that. */
  readonly rooms: Rooms
  /** Whether an expert computes the rows of all ranks at once, not separately for each rank. */
  readonly joined: boolean
  /** Whether gradients of weights are kept separately for each source rank, instead of as one sum. */
  readonly bySource: boolean
}

export interface ExpertInput {
  readonly moe: MoeConfig
  /** [T, D] */
  readonly x_TD: Tensor
  readonly choice: Choice
  readonly placement: Placement
  readonly experts: Experts
  /** Undefined if this rank has all experts. */
  readonly sharing: Sharing | undefined
}

/**
 * Starts to compute Σ gate · E(x) over the kept choices of each token, [T, X]. Call the result for the sum; ops that
 * are called before that do not wait for rows that travel.
 */
export function startExperts(input: ExpertInput): () => Tensor {
  const { moe, experts, sharing } = input
  if (experts.kernel) return packed(input, experts.kernel)
  if (sharing) throw new Error('internal: rows travel only to kernels')
  return done(isRagged(moe) ? ragged(input) : padded(input))
}

/** Packed rows for every capacity, because the kernel skips empty slots. */
function packed(
  { moe, x_TD, choice, placement, sharing }: ExpertInput,
  kernel: NonNullable<Experts['kernel']>,
): () => Tensor {
  const [tokens = 0, choices = 0] = choice.expert_TK.shape
  const perExpert = Math.min(tokens * choices, (placement.capacity ?? Infinity) * moe.experts) / moe.experts
  const tile = tileFor(perExpert, kernelTile())
  const slotMap = raggedSlots(choice, placement, moe.experts, tile)
  const rows = dispatch(x_TD, slotMap)
  if (!sharing) return done(combine(kernel(rows, slotMap.sizes), choice.gate_TK, slotMap))
  const y = onOwners(rows, slotMap.sizes, sharing, roomFor(sharing, choice, placement, tile), (arrived, sizes) =>
    kernel(arrived, sizes, sharing),
  )
  return () => combine(y(), choice.gate_TK, slotMap)
}

function ragged({ moe, x_TD, choice, placement, experts }: ExpertInput): Tensor {
  const slotMap = raggedSlots(choice, placement, moe.experts)
  return combineRagged(experts.ragged(dispatchRagged(x_TD, slotMap)), choice.gate_TK, slotMap)
}

function padded({ moe, x_TD, choice, placement, experts }: ExpertInput): Tensor {
  const slotMap = paddedSlots(choice, placement, moe.experts)
  const rows = dispatch(x_TD, slotMap)
  const [slots = 0, width = 0] = rows.shape
  const out_NRX = experts.padded(reshape(rows, [moe.experts, slots / moe.experts, width]))
  return combine(reshape(out_NRX, [slots, dim(out_NRX.shape, 2)]), choice.gate_TK, slotMap)
}

const done = (result: Tensor) => (): Tensor => result

/**
 * Sends rows to the ranks of their experts. Call the result to compute the rows that arrive here and to get the results
 * of the rows that were sent.
 */
function onOwners(
  rows_RD: Tensor,
  sizes: Tensor,
  { ranks, joined }: Sharing,
  room: number,
  experts: (rows: Tensor, sizes: Tensor) => Tensor,
): () => Tensor {
  const allToAll = allToAllSizes(sizes, ranks, room, joined)
  const arrived = sendRows(rows_RD, allToAll, ranks)
  return () => {
    const y = experts(arrived(), allToAll.joined ?? allToAll.arriving)
    return sendRows(y, allToAll, ranks, { rows: dim(rows_RD.shape, 0) })()
  }
}

/**
 * Number of rows that can arrive, with the padding of experts to a multiple of `tile`. With a capacity C these are all
 * rows that E ranks may send to the experts here. Without a capacity it is an even load times the headroom, or more if the
 * layer has grown, and at most all rows of all ranks.
 */
function roomFor(
  { ranks, headroom, rooms }: Sharing,
  { expert_TK }: Choice,
  { capacity, kept_GN }: Placement,
  tile: number,
): number {
  const [tokens = 0, choices = 0] = expert_TK.shape
  const [groups = 1, experts = 1] = kept_GN.shape
  const padding = experts * (tile - 1)
  const most = tokens * choices
  if (capacity === null)
    return Math.min(ranks * most, Math.max(Math.ceil(most * headroom), rooms.get(scopeName()) ?? 0)) + padding
  return ranks * Math.min(most, (experts / ranks) * groups * capacity) + padding
}

/**
 * Whether rows are computed expert by expert. With capacity 1x most slots are filled, so padding wastes little and rows
 * are padded instead.
 */
const isRagged = ({ compute, capacity }: MoeConfig): boolean =>
  compute === 'ragged' || (compute === 'auto' && capacity !== '1x')
