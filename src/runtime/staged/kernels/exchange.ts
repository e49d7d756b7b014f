/**
 * Exchange of rows between the ranks of an expert group (`src/graph/ops/exchange.ts`). The courier thread moves them;
 * a kernel only orders it, or sleeps until it is done.
 */
import type { Transfer } from '../../mpi/orders.ts'
import { RuntimeError } from '../../runtime-error.ts'
import type { ExpertGroup, Kernel, KernelTensor, KernelThread } from '../contract.ts'
import { sizesOf } from './expert-shared.ts'

const groupOf = ({ group }: KernelThread): ExpertGroup => {
  if (!group) throw new RuntimeError('internal: rows are exchanged without other ranks')
  return group
}

const numbersOf = (tensor: KernelTensor, thread: KernelThread): (() => readonly number[]) => {
  const sizes = sizesOf(tensor, thread)
  return () => Array.from(sizes, Number).slice(0, -1)
}

/** Transfers with all other ranks of the group. Bounds are elements of the memory by rank, [E + 1]. */
function transfersOf(
  group: ExpertGroup,
  send: { readonly tensor: KernelTensor; readonly bounds: readonly number[] },
  receive: { readonly tensor: KernelTensor; readonly bounds: readonly number[] },
  bytes: number,
): Transfer[] {
  const of = (direction: 'send' | 'receive', { tensor, bounds }: typeof send, q: number): Transfer => {
    const [from, to] = [bounds[q] as number, bounds[q + 1] as number]
    return { peer: group.first + q, direction, address: tensor.address + from * bytes, bytes: (to - from) * bytes }
  }
  return Array.from({ length: group.size }, (_, q) => q)
    .filter((q) => q !== group.rank)
    .flatMap((q) => [of('send', send, q), of('receive', receive, q)])
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

/** Input sizes int64 [N + 1] by expert; output those that arrive, by source rank and expert here. */
export const exchangeSizes: Kernel = {
  provider: 'MPI',
  prepare(call, thread) {
    const [sizes] = call.inputs as [KernelTensor]
    const [arriving] = call.outputs as [KernelTensor]
    const { ranks, room } = call.attributes as { ranks: number; room: number }
    const each = (sizes.size - 1) / ranks
    const bounds = Array.from({ length: ranks + 1 }, (_, q) => q * each)
    return {
      tasks: 1,
      run() {
        const group = groupOf(thread)
        const transfers = transfersOf(group, { tensor: sizes, bounds }, { tensor: arriving, bounds }, 8)
        const start = group.rank * each
        copy(thread, { tensor: sizes, start }, { tensor: arriving, start }, each, 8)
        group.ring.wait(group.ring.post(group.channel, transfers))
        const rows = numbersOf(arriving, thread)().reduce((sum, count) => sum + count, 0)
        if (rows > room)
          throw new RuntimeError(
            `the experts of this rank get ${rows} rows, but there is room for ${room} (set a capacity, or raise ` +
              'parallel.headroom)',
          )
        sizesOf(arriving, thread)[ranks * each] = BigInt(room - rows)
      },
    }
  },
}

/** First row of each rank's segment, [E + 1]. */
function segments(counts: readonly number[], ranks: number): number[] {
  const each = counts.length / ranks
  const bounds = [0]
  for (let q = 0; q < ranks; q++)
    bounds.push(counts.slice(q * each, (q + 1) * each).reduce((sum, count) => sum + count, bounds[q] as number))
  return bounds
}

/**
 * Inputs rows [R, D], their sizes and those of the result, int64 [N + 1], both in E segments by rank; outputs rows
 * [R', D], which arrive later, and the ticket to wait for, int32 [1].
 */
export const exchangeRows: Kernel = {
  provider: 'MPI',
  prepare(call, thread) {
    const [rows, from, to] = call.inputs as [KernelTensor, KernelTensor, KernelTensor]
    const [result, ticket] = call.outputs as [KernelTensor, KernelTensor]
    const { ranks } = call.attributes as { ranks: number }
    const bytes = 4 * (rows.shape[1] as number)
    const [sent, received] = [numbersOf(from, thread), numbersOf(to, thread)]
    return {
      tasks: 1,
      run() {
        const group = groupOf(thread)
        const send = { tensor: rows, bounds: segments(sent(), ranks) }
        const receive = { tensor: result, bounds: segments(received(), ranks) }
        thread.integers[ticket.offset / 4] = group.ring.post(group.channel, transfersOf(group, send, receive, bytes))
        const [start, end] = [send.bounds[group.rank] as number, send.bounds[group.rank + 1] as number]
        const own = { tensor: result, start: receive.bounds[group.rank] as number }
        copy(thread, { tensor: rows, start }, own, end - start, bytes)
      },
    }
  },
  work: ({ inputs: [rows] }) => ({ flops: 0, bytes: 8 * (rows as KernelTensor).size }),
}

/** Inputs rows that arrive, the ticket, and the rows that are sent; output the first input once they have arrived. */
export const awaitRows: Kernel = {
  provider: 'MPI',
  prepare(call, thread) {
    const [rows, ticket] = call.inputs as [KernelTensor, KernelTensor]
    const [result] = call.outputs as [KernelTensor]
    return {
      tasks: 1,
      run() {
        groupOf(thread).ring.wait(thread.integers[ticket.offset / 4] as number)
        if (result.offset !== rows.offset)
          copy(thread, { tensor: rows, start: 0 }, { tensor: result, start: 0 }, rows.size, 4)
      },
    }
  },
}
