/**
 * The exchange of rows between the ranks that share the experts of a layer (an all-to-all).
 *
 * Each of E ranks holds n = N/E of the N experts. A rank's slots are grouped by expert, so the rows for one rank are
 * consecutive. They arrive grouped by source rank, and within it by expert; or, *joined*, by expert, and within it by
 * source rank. The number of rows is known at run time: ranks first exchange the sizes, then exactly those rows. The
 * gradient of an all-to-all is the all-to-all back.
 *
 * An all-to-all has two steps, so that ranks compute while rows travel: `sendRows` starts it, `arrive` waits for it. In
 * the backward pass the gradient of `arrive` starts it and the gradient of `sendRows` waits.
 */
import { emitKernel, hasKernel } from '../kernels/declaration.ts'
import * as experts from '../kernels/experts.ts'
import * as kernels from '../kernels/rows.ts'
import type { Shape } from '../model.ts'
import { dim } from '../shape.ts'
import { type Built, defineIndexOp, defineOp, type Tensor } from '../tensor.ts'
import { treeAdditions } from '../tree.ts'
import { add, broadcastTo } from './elementwise.ts'
import { reshape, slice } from './shape.ts'

/** The sizes of an all-to-all. They are int64 [N + 1]: numbers of rows by expert, then the number of unused rows. */
export interface AllToAll {
  /** Numbers of rows that this rank sends, by expert. */
  readonly sizes: Tensor
  /** Numbers of rows that arrive, by source rank and expert held here. */
  readonly arriving: Tensor
  /** Numbers of rows that arrive, by expert held here, int64 [n + 1]; null unless rows are joined. */
  readonly joined: Tensor | null
  /** Number of rows that can arrive, used or not. */
  readonly room: number
}

/**
 * Exchanges the sizes [N + 1] of rows by expert. If more than `room` rows arrive, the run stops before any of them
 * travels (`TooManyRows`), and can continue in a program with more room.
 */
export const allToAllSizes: (sizes: Tensor, ranks: number, room: number, joined: boolean) => AllToAll = defineIndexOp(
  'all-to-all-sizes',
  'kernel',
  (sizes: Tensor, ranks: number, room: number, joined: boolean) => {
    const { counts } = emitKernel(kernels.allToAllSizes, { sizes }, { ranks })
    const { arriving, totals } = emitKernel(kernels.fitRows, { counts }, { ranks, room, joined: joined ? 1 : 0 })
    return { sizes, arriving, joined: totals ?? null, room }
  },
)

/** Rows that travel to other ranks: the memory for those that arrive, the ticket to wait with, and the sent rows. */
export interface Travelling {
  readonly raw: Tensor
  readonly ticket: Tensor
  readonly rows: Tensor
}

const opposite = { sent: 'received', received: 'sent', none: 'none' } as const

function start(
  rows: Tensor,
  from: Tensor,
  to: Tensor,
  rule: { readonly ranks: number; readonly room: number; readonly joined: kernels.JoinedSide },
): Travelling {
  return { ...emitKernel(kernels.allToAllRows, { rows, from, to }, rule), rows }
}

/** Waits for rows to arrive. The sent rows are an input, so that their memory is not reused before they have left. */
const finish = ({ raw, ticket, rows }: Travelling): Tensor =>
  emitKernel(kernels.awaitRows, { raw, ticket, sent: rows }).rows

/**
 * Starts to send rows [R, D] to the ranks of their experts; call the result to wait for the rows that arrive [room, D].
 * With `back`, rows that had arrived return to the ranks that they came from: [room, D] → [R, D].
 */
export function sendRows(
  rows: Tensor,
  allToAll: AllToAll,
  ranks: number,
  back?: { readonly rows: number },
): () => Tensor {
  const [from, to] = back ? [allToAll.arriving, allToAll.sizes] : [allToAll.sizes, allToAll.arriving]
  const [sent, room] = [dim(rows.shape, 0), back ? back.rows : allToAll.room]
  const joined: kernels.JoinedSide = allToAll.joined === null ? 'none' : back ? 'sent' : 'received'
  const travelling = new Map<Tensor, Travelling>()
  const raw = sendOp(rows, (x) => start(x, from, to, { ranks, room, joined }), travelling)
  return () => arriveOp(raw, travelling, (dy) => start(dy, to, from, { ranks, room: sent, joined: opposite[joined] }))
}

const sendOp: (rows: Tensor, begin: (rows: Tensor) => Travelling, travelling: Map<Tensor, Travelling>) => Tensor =
  defineOp(
    'send-rows',
    'kernel',
    (rows: Tensor, begin: (rows: Tensor) => Travelling, travelling: Map<Tensor, Travelling>): Built<Tensor> => {
      const sent = begin(rows)
      travelling.set(sent.raw, sent)
      return {
        result: sent.raw,
        inputs: [rows],
        gradient: (dRaw) => [dRaw && finish(travelling.get(dRaw) as Travelling)],
      }
    },
  )

const arriveOp: (raw: Tensor, travelling: Map<Tensor, Travelling>, beginBack: (dy: Tensor) => Travelling) => Tensor =
  defineOp(
    'arrive',
    'kernel',
    (raw: Tensor, travelling: Map<Tensor, Travelling>, beginBack: (dy: Tensor) => Travelling): Built<Tensor> => {
      const [sent] = travelling.values()
      return {
        result: finish({ ...(sent as Travelling), raw }),
        inputs: [raw],
        gradient: (dy) => {
          if (!dy) return []
          const back = beginBack(dy)
          // A tensor that stands for the rows that travel back, in the shape of the result of `sendOp`, whose gradient
          // rule is its only reader.
          const onTheirWay = { ...back.raw, shape: raw.shape }
          travelling.set(onTheirWay, back)
          return [onTheirWay]
        },
      }
    },
  )

/**
 * The sum over E source ranks of the gradients of n experts, in the order of the tree: [n, E, ...] → [n, ...].
 * {@link sourcesOf} finds the parts again, for callers that add them later.
 */
export const sumSources: (parts: Tensor) => Tensor = defineOp(
  'sum-sources',
  'expert',
  (parts: Tensor): Built<Tensor> => {
    const shape = parts.shape.toSpliced(1, 1)
    return {
      result: treeSum(parts, shape),
      inputs: [parts],
      gradient: (dy) => [dy && broadcastTo(reshape(dy, shape.toSpliced(1, 0, 1)), parts.shape)],
    }
  },
)

function treeSum(parts: Tensor, shape: Shape): Tensor {
  const sources = dim(parts.shape, 1)
  if (hasKernel(experts.sumSources, parts.dtype)) return emitKernel(experts.sumSources, { parts }).sum
  const sums = Array.from({ length: sources }, (_, i) => reshape(slice(parts, 1, i, i + 1), shape))
  for (const { into, from } of treeAdditions(sources, 0)) sums[into] = add(sums[into] as Tensor, sums[from] as Tensor)
  return sums[0] as Tensor
}

/** The parts of a gradient that is a sum over source ranks; undefined for any other gradient. */
export const sourcesOf = (gradient: Tensor): Tensor | undefined =>
  gradient.application?.op === 'sum-sources' ? gradient.application.inputs[0] : undefined
