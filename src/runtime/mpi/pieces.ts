/**
 * Messages that give way to others. Gradients and parameters travel while a program computes, and on a slow link they
 * would delay the rows of experts, for which the program waits. So they are cut into pieces: few are under way at a
 * time, and none begins while this rank sends something else.
 *
 * Pieces between two ranks in a channel begin in sequence on both sides, since MPI matches messages by their order.
 */
import type { Transfer } from './orders.ts'

/** A millisecond on a link of 1 Gb/s. Both sides of a transfer cut it alike. */
const PIECE_BYTES = 128 * 1024
/** Pieces that a rank sends to another at a time after something urgent: one is on its way, the next one follows at once. */
const MIN_WINDOW = 2
/** On a fast network more are needed to keep it busy until the courier polls again. A receiver always has as many. */
const MAX_WINDOW = 64

/** Part of a transfer, with the order that it belongs to. */
export interface Piece<Owner> {
  readonly owner: Owner
  readonly channel: number
  readonly transfer: Transfer
}

/** The pieces between two ranks in a channel, in one direction. */
interface Lane<Owner> {
  readonly sends: boolean
  readonly waiting: Piece<Owner>[]
  /** Number of those under way. */
  flying: number
  /** Maximum number of them. */
  window: number
}

export class Pieces<Owner> {
  private readonly lanes = new Map<string, Lane<Owner>>()

  /** @returns Their number. */
  add(owner: Owner, channel: number, transfers: readonly Transfer[]): number {
    const pieces = transfers.flatMap(cut)
    for (const transfer of pieces) this.laneOf(channel, transfer).waiting.push({ owner, channel, transfer })
    return pieces.length
  }

  /** The pieces that begin now. @param maySend Whether this rank sends nothing urgent. */
  begin(maySend: boolean): Piece<Owner>[] {
    return [...this.lanes.values()].flatMap((lane) => {
      if (lane.sends && !maySend) {
        lane.window = MIN_WINDOW
        return []
      }
      const pieces = lane.waiting.splice(0, lane.window - lane.flying)
      lane.flying += pieces.length
      return pieces
    })
  }

  /** A piece has ended. */
  end(channel: number, transfer: Transfer): void {
    const lane = this.laneOf(channel, transfer)
    lane.flying--
    // All have ended since the last poll: the network waits for us.
    if (lane.flying === 0 && lane.waiting.length > 0) lane.window = Math.min(2 * lane.window, MAX_WINDOW)
  }

  private laneOf(channel: number, { peer, direction }: Transfer): Lane<Owner> {
    const key = `${channel} ${direction} ${peer}`
    let lane = this.lanes.get(key)
    if (!lane) {
      const sends = direction === 'send'
      lane = { sends, waiting: [], flying: 0, window: sends ? MIN_WINDOW : MAX_WINDOW }
      this.lanes.set(key, lane)
    }
    return lane
  }
}

function cut(transfer: Transfer): Transfer[] {
  const { address, bytes } = transfer
  return Array.from({ length: Math.ceil(bytes / PIECE_BYTES) }, (_, i) => {
    const start = i * PIECE_BYTES
    return { ...transfer, address: address + start, bytes: Math.min(PIECE_BYTES, bytes - start) }
  })
}
