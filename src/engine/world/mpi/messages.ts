/** Messages between the main thread and the courier. */

import type { RankIdentity } from '../../../core/text/rank-name.ts'
import type { MpiLibrary } from './library.ts'
import type { World } from './world.ts'

export interface CourierData {
  readonly world: World
  readonly library: MpiLibrary
  readonly orders: SharedArrayBuffer
  readonly traffic: SharedArrayBuffer
  readonly deadlineSeconds: number
}

export type CourierReport =
  | { readonly kind: 'ready'; readonly library: string; readonly roster: readonly RankIdentity[] }
  | { readonly kind: 'done'; readonly ticket: number }
  | Failed
  | { readonly kind: 'closed' }

interface Failed {
  readonly kind: 'failed'
  /** Whether the library does not fit the launcher. */
  readonly usage: boolean
  /** Whether this rank has joined the world, so that the other ranks wait for it. */
  readonly joined: boolean
  readonly message: string
}
