/**
 * Data that a rank of a simulated world receives. There are no other ranks, so each of them is assumed to do what this
 * rank does: all that this rank sends to a peer in an exchange also comes from that peer. Sizes that are mirrored fit
 * the rows that are mirrored after them, and as many rows arrive as this rank sends, which is the mean over the ranks
 * of a true world. Memory for which there is nothing to mirror keeps its values: parameters stay as they are, and the
 * gradients of other ranks are zero, as their memory was at first.
 */
export interface Answer<T> {
  /** The transfer that is received. */
  readonly to: T
  /** The transfer to the same peer in the same exchange that it mirrors; null if there is none. */
  readonly from: T | null
}

/** The transfers that are received, each with the sent transfer that it mirrors. */
export function answers<T extends { readonly peer: number; readonly direction: 'send' | 'receive' }>(
  transfers: readonly T[],
): Answer<T>[] {
  const sent = new Map<number, T[]>()
  for (const transfer of transfers)
    if (transfer.direction === 'send') sent.set(transfer.peer, [...(sent.get(transfer.peer) ?? []), transfer])
  return transfers
    .filter(({ direction }) => direction === 'receive')
    .map((to) => ({ to, from: sent.get(to.peer)?.shift() ?? null }))
}
