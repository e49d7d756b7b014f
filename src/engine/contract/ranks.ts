/**
 * The contract between a training and the other processes that take part in it, its *ranks*. All ranks call the same
 * methods in the same order.
 */

import type { RankIdentity } from '../../core/text/rank-name.ts'

/**
 * Floats to or from another rank. Until the exchange is complete, sent floats must not change, and received floats must
 * not be read.
 */
export interface Transfer {
  readonly peer: number
  readonly direction: 'send' | 'receive'
  readonly array: Float32Array
}

/**
 * A channel for each kind of transfer, so that transfers of different kinds are not mixed up and are counted
 * separately.
 */
export const channels = { gradients: 0, parameters: 1, experts: 2, 'early gradients': 3 } as const

/** An exchange under way. */
export interface Begun {
  /** The ticket of the order, for programs that wait for it; `NOT_POSTED` (-1) if nothing was posted. */
  readonly ticket: number
  /** Settles when the exchange is complete. */
  readonly done: Promise<void>
}

export interface Ranks {
  /** The number of this process, from 0. */
  readonly rank: number
  readonly size: number
  /** Every rank, in order. */
  readonly roster: readonly RankIdentity[]
  /** The queue of orders to the courier, the thread that transfers; every thread may post to it (`mpi/ring.ts`). */
  readonly orders: SharedArrayBuffer
  /**
   * Whether received memory may keep its values, in part or as a whole: in a simulated world, whose other ranks do not
   * exist. Default: every exchange fills what it receives.
   */
  readonly keepsValues?: boolean
  /** Sends and receives. Transfers between two ranks in a channel are matched in order. */
  exchange(channel: number, transfers: readonly Transfer[]): Promise<void>
  /** Begins an exchange like {@link exchange}, for a program that runs meanwhile. */
  begin(channel: number, transfers: readonly Transfer[]): Begun
  /** Settles when an exchange that a program has posted early is done. @param ticket The ticket from `Binding.run`. */
  completion(ticket: number): Promise<void>
  /** The values of every rank, in order of ranks: [size · n] from [n]. */
  allGather(values: Float64Array): Promise<Float64Array>
  /** The text of every rank, in order of ranks. */
  gatherText(text: string): Promise<readonly string[]>
}

/** The values of every rank, in order; values must be JSON. Without other ranks it is the value itself, in a list. */
export async function gatherJson<T>(ranks: Ranks | null, value: T): Promise<T[]> {
  if (!ranks) return [value]
  return (await ranks.gatherText(JSON.stringify(value))).map((text) => JSON.parse(text) as T)
}

/** The values [n] of every rank, in order of ranks; all ranks give the same number of values. */
export async function gatherRows(ranks: Ranks, values: Float64Array): Promise<Float64Array[]> {
  const all = await ranks.allGather(values)
  const n = values.length
  return Array.from({ length: ranks.size }, (_, rank) => all.subarray(rank * n, (rank + 1) * n))
}

/**
 * The sum of every element over the ranks, added in order of ranks. Without other ranks it is the values themselves.
 */
export async function sumOverRanks(ranks: Ranks | null, values: Float64Array): Promise<Float64Array> {
  if (!ranks) return values
  const all = await ranks.allGather(values)
  return values.map((_, i) => {
    let sum = 0
    for (let rank = 0; rank < ranks.size; rank++) sum += all[rank * values.length + i] as number
    return sum
  })
}
