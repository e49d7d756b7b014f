/**
 * Host and process of each rank: errors name them, so that a reader can find the rank that hangs. Ranks exchange
 * cards of equal size, because no rank knows the lengths of the others' host names yet.
 */
import type { RankIdentity } from '../../../core/text/rank-name.ts'

export const CARD_BYTES = 264
const PID_BYTES = 8

export function writeCard(card: Uint8Array, { host, pid }: Omit<RankIdentity, 'rank'>): void {
  new DataView(card.buffer, card.byteOffset).setFloat64(0, pid)
  new TextEncoder().encodeInto(host, card.subarray(PID_BYTES, CARD_BYTES - 1))
}

export function readCard(card: Uint8Array, rank: number): RankIdentity {
  const name = card.subarray(PID_BYTES, card.indexOf(0, PID_BYTES))
  return { rank, host: new TextDecoder().decode(name), pid: new DataView(card.buffer, card.byteOffset).getFloat64(0) }
}
