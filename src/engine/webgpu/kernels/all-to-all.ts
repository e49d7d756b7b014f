/**
 * The all-to-all of rows between ranks that each compute on a GPU (`src/core/graph/ops/all-to-all.ts`). Rows pass through
 * host memory: the device is read, the courier sends and receives, and the device is written when something waits for
 * the rows. Dispatches between `allToAllRows` and `awaitRows` run meanwhile.
 */
import * as declared from '../../../core/graph/kernels/rows.ts'
import type { Transfer } from '../../contract/ranks.ts'
import { fittedSizes, type Segment, segmentsOf } from '../../contract/row-segments.ts'
import { RuntimeError } from '../../contract/runtime-error.ts'
import { type DeviceGroup, implement, type Operand } from './contract.ts'
import { bytesOfNumber } from './memory.ts'
import { widthOf } from './vectors.ts'

/** An array of rows of `width` words of 4 bytes, and the segments of it that each rank of the group sends or receives. */
interface Side {
  readonly array: Float32Array
  readonly segments: readonly (readonly Segment[])[]
}

/** Transfers with all other ranks. What this rank sends to itself is copied at once. */
function exchanged(group: DeviceGroup, send: Side, receive: Side, width: number): Transfer[] {
  const parts = ({ array, segments }: Side, q: number) =>
    (segments[q] as readonly Segment[]).map(({ start, count }) =>
      array.subarray(start * width, (start + count) * width),
    )
  return Array.from({ length: group.size }, (_, q) => q).flatMap((q): Transfer[] => {
    const [sent, received] = [parts(send, q), parts(receive, q)]
    if (q === group.rank) {
      for (const [i, array] of sent.entries()) received[i]?.set(array)
      return []
    }
    const peer = group.first + q
    return [
      ...sent.map((array): Transfer => ({ peer, direction: 'send', array })),
      ...received.map((array): Transfer => ({ peer, direction: 'receive', array })),
    ]
  })
}

const rowsIn = (segments: readonly (readonly Segment[])[]): number =>
  segments.flat().reduce((sum, { count }) => sum + count, 0)

/** Without the number of unused rows at the end. */
const counts = (sizes: readonly number[]): readonly number[] => sizes.slice(0, -1)

export const allToAllSizes = implement(declared.allToAllSizes, {
  lower: () => [],
  host: ({ inputs: { sizes }, outputs: { counts }, attributes: { ranks } }) => ({
    operands: [sizes, counts],
    async run(memory) {
      const each = counts.size / ranks
      const segments = Array.from({ length: ranks }, (_, q) => [{ start: q * each, count: each }])
      // Integers travel as the bits of floats.
      const own = Int32Array.from(await memory.integers(sizes))
      const arriving = new Int32Array(counts.size)
      const received = new Float32Array(arriving.buffer)
      const [send, receive] = [
        { array: new Float32Array(own.buffer), segments },
        { array: received, segments },
      ]
      await memory.exchange(exchanged(memory.group, send, receive, 1), received)
      memory.setIntegers(counts, Array.from(arriving))
    },
  }),
})

export const fitRows = implement(declared.fitRows, {
  lower: () => [],
  host: ({ inputs: { counts }, outputs: { arriving, totals }, attributes: { ranks, room } }) => ({
    operands: [counts, arriving, ...(totals ? [totals] : [])],
    mayStop: true,
    async run(memory) {
      const sizes = fittedSizes(await memory.integers(counts), ranks, room)
      memory.setIntegers(arriving, sizes.arriving)
      if (totals) memory.setIntegers(totals, sizes.totals)
    },
  }),
})

/** Number of words of a row; two f16 numbers are a word. */
function wordsOf(rows: Operand): number {
  const words = (widthOf(rows) * bytesOfNumber(rows.dtype)) / 4
  if (!Number.isInteger(words)) throw new RuntimeError(`internal: rows of ${widthOf(rows)} f16 numbers are exchanged`)
  return words
}

export const allToAllRows = implement(declared.allToAllRows, {
  lower: () => [],
  halves: { inputs: ['rows'], outputs: ['raw'], same: true },
  host: ({ inputs: { rows, from, to }, outputs: { ticket }, attributes: { ranks, joined } }) => ({
    operands: [rows, from, to, ticket],
    async run(memory) {
      const width = wordsOf(rows)
      const segments = {
        sent: segmentsOf(counts(await memory.integers(from)), ranks, joined, 'sent'),
        received: segmentsOf(counts(await memory.integers(to)), ranks, joined, 'received'),
      }
      const array = await memory.words(rows, rowsIn(segments.sent) * width)
      const received = new Float32Array(rowsIn(segments.received) * width)
      const [send, receive] = [
        { array, segments: segments.sent },
        { array: received, segments: segments.received },
      ]
      memory.expect(ticket, exchanged(memory.group, send, receive, width), received)
    },
  }),
})

export const awaitRows = implement(declared.awaitRows, {
  lower: () => [],
  halves: { inputs: ['raw', 'sent'], outputs: ['rows'], same: true },
  host: ({ inputs: { ticket }, outputs: { rows } }) => ({
    operands: [ticket, rows],
    run: async (memory) => memory.setWords(rows, await memory.arrived(ticket)),
  }),
})
