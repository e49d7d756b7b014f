/**
 * Kernels of the all-to-all of rows between the ranks of an expert group (`src/core/graph/ops/all-to-all.ts`). The
 * courier thread moves the rows; a kernel only posts the order, or sleeps until the order is done.
 */

import * as declared from '../../../../core/graph/kernels/rows.ts'
import { fittedSizes, type Segment, segmentsOf } from '../../../contract/row-segments.ts'
import { RuntimeError } from '../../../contract/runtime-error.ts'
import type { Transfer } from '../../../world/mpi/orders.ts'
import { type ExpertGroup, implement, type KernelTensor, type KernelThread } from '../contract.ts'
import { sizesOf } from './experts/expert-shared.ts'
import { elementBytes } from './floats.ts'

const groupOf = ({ group }: KernelThread): ExpertGroup => {
  if (!group) throw new RuntimeError('internal: rows are exchanged without other ranks')
  return group
}

const numbersOf = (tensor: KernelTensor, thread: KernelThread): (() => readonly number[]) => {
  const sizes = sizesOf(tensor, thread)
  return () => Array.from(sizes, Number).slice(0, -1)
}

/** A tensor, and its segments by rank. The segments of a rank are sent and received in order. */
interface Side {
  readonly tensor: KernelTensor
  readonly segments: readonly (readonly Segment[])[]
}

/** Transfers with all other ranks of the group. */
function transfersOf(group: ExpertGroup, send: Side, receive: Side, bytes: number): Transfer[] {
  const of = (direction: 'send' | 'receive', { tensor, segments }: Side, q: number): Transfer[] =>
    (segments[q] as readonly Segment[]).map(({ start, count }) => {
      return { peer: group.first + q, direction, address: tensor.address + start * bytes, bytes: count * bytes }
    })
  return Array.from({ length: group.size }, (_, q) => q)
    .filter((q) => q !== group.rank)
    .flatMap((q) => [...of('send', send, q), ...of('receive', receive, q)])
}

/** Copies the segments that this rank sends to itself. */
function copyOwn(thread: KernelThread, { rank }: ExpertGroup, send: Side, receive: Side, bytes: number): void {
  const targets = receive.segments[rank] as readonly Segment[]
  for (const [i, { start, count }] of (send.segments[rank] as readonly Segment[]).entries()) {
    const to = { tensor: receive.tensor, start: (targets[i] as Segment).start }
    copy(thread, { tensor: send.tensor, start }, to, count, bytes)
  }
}

/** Copies elements within the memory of the program. */
function copy(
  { floats }: KernelThread,
  from: { readonly tensor: KernelTensor; readonly start: number },
  to: { readonly tensor: KernelTensor; readonly start: number },
  count: number,
  bytes: number,
): void {
  const memory = new Uint8Array(floats.buffer)
  const source = from.tensor.offset + from.start * bytes
  memory.copyWithin(to.tensor.offset + to.start * bytes, source, source + count * bytes)
}

export const allToAllSizes = implement(declared.allToAllSizes, {
  provider: 'MPI',
  prepare({ inputs: { sizes }, outputs: { counts }, attributes: { ranks } }, thread) {
    const each = counts.size / ranks
    const segments = Array.from({ length: ranks }, (_, q) => [{ start: q * each, count: each }])
    return {
      tasks: 1,
      run() {
        const group = groupOf(thread)
        const [send, receive] = [
          { tensor: sizes, segments },
          { tensor: counts, segments },
        ]
        copyOwn(thread, group, send, receive, 8)
        group.ring.wait(group.ring.post(group.channel, transfersOf(group, send, receive, 8)))
      },
    }
  },
})

export const fitRows = implement(declared.fitRows, {
  provider: 'MPI',
  prepare({ inputs: { counts }, outputs: { arriving, totals }, attributes: { ranks, room } }, thread) {
    const arrived = sizesOf(counts, thread)
    return {
      tasks: 1,
      run() {
        const sizes = fittedSizes(Array.from(arrived, Number), ranks, room)
        sizesOf(arriving, thread).set(sizes.arriving.map(BigInt))
        if (totals) sizesOf(totals, thread).set(sizes.totals.map(BigInt))
      },
    }
  },
})

export const allToAllRows = implement(declared.allToAllRows, {
  provider: 'MPI',
  halves: { inputs: ['rows'], outputs: ['raw'], same: true },
  prepare({ inputs: { rows, from, to }, outputs: { raw, ticket }, attributes: { ranks, joined } }, thread) {
    const bytes = elementBytes(rows) * (rows.shape[1] as number)
    const [sent, received] = [numbersOf(from, thread), numbersOf(to, thread)]
    return {
      tasks: 1,
      run() {
        const group = groupOf(thread)
        const send = { tensor: rows, segments: segmentsOf(sent(), ranks, joined, 'sent') }
        const receive = { tensor: raw, segments: segmentsOf(received(), ranks, joined, 'received') }
        thread.integers[ticket.offset / 4] = group.ring.post(group.channel, transfersOf(group, send, receive, bytes))
        copyOwn(thread, group, send, receive, bytes)
      },
    }
  },
  work: ({ inputs: { rows } }) => ({ flops: 0, bytes: 2 * elementBytes(rows) * rows.size }),
})

export const awaitRows = implement(declared.awaitRows, {
  provider: 'MPI',
  halves: { inputs: ['raw', 'sent'], outputs: ['rows'], same: true },
  prepare({ inputs: { raw, ticket }, outputs: { rows } }, thread) {
    return {
      tasks: 1,
      run() {
        groupOf(thread).ring.wait(thread.integers[ticket.offset / 4] as number)
        if (rows.offset !== raw.offset)
          copy(thread, { tensor: raw, start: 0 }, { tensor: rows, start: 0 }, raw.size, elementBytes(raw))
      },
    }
  },
})
