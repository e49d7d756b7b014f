/** The measured series that moments are found in, and a moment with its size. */
import type { RouterInfo } from '../../api.ts'
import type { Moment } from '../shared-run.ts'

export interface RouterSeries {
  /** Index in RoutingIndex.routers. */
  readonly router: number
  readonly info: RouterInfo
  /** Name of the layer, such as `layer 2`. */
  readonly place: string
  /** Steps of the snapshots. */
  readonly steps: readonly number[]
  /** Assignments of an expert at a snapshot, before drops. */
  readonly tokens: (snapshot: number, expert: number) => number
  /** Drop rate at each snapshot. */
  readonly dropRate: readonly (number | null)[]
}

/** Losses by step, in order of steps; NaN where the loss is not finite. */
export interface LossSeries {
  readonly step: ArrayLike<number>
  readonly value: ArrayLike<number>
}

/** A moment with its size among the moments of its kind. */
export interface Sized extends Moment {
  readonly size: number
}
