/**
 * Exchanges ranges of arenas with other ranks, wherever the arenas are.
 *
 *   memory of this process   ranges are sent and received in place
 *   memory of a device       range → host memory → other rank → its host memory → its range
 *
 * A range of a device is read as it is after all work that was enqueued before the exchange began, and work that is
 * enqueued after the exchange is done sees what was received. Copies are as large as the ranges, so callers limit how
 * many exchanges are under way (`gradient-sum.ts`). On all ranks the exchanges of a channel are posted in the order in
 * which they began, although reads of a device may end in any order.
 */
import { type ArenaRange, floatsOf } from '../../../engine/contract/arena.ts'
import type { Begun, Ranks, Transfer } from '../../../engine/contract/ranks.ts'
import { NOT_POSTED } from '../../../engine/contract/runtime.ts'

/** Like a `Transfer`, from or to a range. */
export interface RangeTransfer extends ArenaRange {
  readonly peer: number
  readonly direction: Transfer['direction']
}

/** Transfers of ranges in memory of this process. @throws Error if a range is on a device */
export const inPlace = (transfers: readonly RangeTransfer[]): Transfer[] =>
  transfers.map(({ peer, direction, ...range }) => ({ peer, direction, array: floatsOf(range) }))

const isOnDevice = ({ arena }: ArenaRange): boolean => arena.host === null

export class RangeExchange {
  private readonly ranks: Ranks
  /** Settles when the last exchange of a channel has been posted. */
  private readonly posted = new Map<number, Promise<unknown>>()

  constructor(ranks: Ranks) {
    this.ranks = ranks
  }

  /** Sends and receives, as `Ranks.exchange`. */
  exchange(channel: number, transfers: readonly RangeTransfer[]): Promise<void> {
    return this.begin(channel, transfers).done
  }

  /** Begins an exchange, as `Ranks.begin`. A program on a device cannot wait for it, so it has no ticket then. */
  begin(channel: number, transfers: readonly RangeTransfer[]): Begun {
    if (!transfers.some(isOnDevice)) return this.ranks.begin(channel, inPlace(transfers))
    const done = this.throughHost(channel, transfers)
    // The failure is handled by the caller, perhaps later.
    done.catch(() => {})
    return { ticket: NOT_POSTED, done }
  }

  private async throughHost(channel: number, transfers: readonly RangeTransfer[]): Promise<void> {
    const reading = Promise.all(readOnce(transfers, this.ranks.keepsValues ?? false))
    const before = this.posted.get(channel)
    const posting = reading.then(async (arrays) => {
      await before
      return { arrays, ...this.ranks.begin(channel, withArrays(transfers, arrays)) }
    })
    this.posted.set(channel, posting)
    const { arrays, done } = await posting
    await done
    await Promise.all(
      transfers.map(({ arena, direction, start }, i) => {
        return direction === 'receive' ? arena.write(start, arrays[i] as Float32Array) : undefined
      }),
    )
  }
}

const withArrays = (transfers: readonly RangeTransfer[], arrays: readonly Float32Array[]): Transfer[] =>
  transfers.map(({ peer, direction }, i) => ({ peer, direction, array: arrays[i] as Float32Array }))

/**
 * Host memory for each transfer, with the values of sent ranges. A range that several ranks get is read once.
 * @param keepsValues Whether received ranges are read too, since an exchange may leave them as they are.
 */
function readOnce(transfers: readonly RangeTransfer[], keepsValues: boolean): (Float32Array | Promise<Float32Array>)[] {
  const read: { readonly from: ArenaRange; readonly values: Promise<Float32Array> }[] = []
  return transfers.map(({ direction, arena, start, count }) => {
    if (direction === 'receive') return keepsValues ? arena.read(start, count) : new Float32Array(count)
    const same = read.find(({ from }) => from.arena === arena && from.start === start && from.count === count)
    if (same) return same.values
    const values = arena.read(start, count)
    read.push({ from: { arena, start, count }, values })
    return values
  })
}
