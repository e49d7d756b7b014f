/**
 * The contents of a heat map, independent of its size: a value and a mark for every cell, in display order. There are
 * two kinds: routers × experts at one snapshot, and experts × snapshots of one router.
 */
import type { RouterInfo } from '../../../src/faces/watch/api.ts'
import { type LoadKind, markOf, meanLoad } from './expert-load.ts'

export interface Frame {
  readonly rows: number
  readonly columns: number
  /** Load over mean, of shape [rows][columns]; NaN where there is no expert. */
  readonly values: Float32Array
  readonly marks: Uint8Array
  /** Rows and columns with a gap before them. */
  readonly rowGaps: readonly number[]
  readonly columnGaps: readonly number[]
  /** The expert of a cell; -1 if it has no expert. */
  readonly expertAt: (row: number, column: number) => number
}

interface Look {
  readonly order: Order
  readonly stage: LoadKind
}

/** Routers × experts. @param loads Loads of one snapshot, of shape [routers][2][width] */
export function layerFrame(
  loads: Float32Array,
  routers: readonly RouterInfo[],
  width: number,
  { order, stage }: Look,
): Frame {
  const values = new Float32Array(routers.length * width).fill(Number.NaN)
  const marks = new Uint8Array(values.length)
  const shown = new Int16Array(values.length).fill(-1)
  routers.forEach((router, row) => {
    const before = row * 2 * width
    const from = stage === 'before' ? before : before + width
    const mean = meanLoad(loads, before, router.experts)
    sortedExperts(router, order, (expert) => loads[before + expert] ?? 0).forEach((expert, column) => {
      const cell = row * width + column
      values[cell] = mean > 0 ? (loads[from + expert] ?? 0) / mean : 0
      marks[cell] = markOf(loads[before + expert] ?? 0, mean)
      shown[cell] = expert
    })
  })
  return {
    rows: routers.length,
    columns: width,
    values,
    marks,
    rowGaps: [],
    columnGaps: gapsOf(routers, order),
    expertAt: (row, column) => shown[row * width + column] ?? -1,
  }
}

/**
 * Experts × snapshots. Orders by load use the sum over all snapshots.
 * @param history Loads of one router, of shape [snapshots][2][width]
 */
export function timeFrame(history: Float32Array, router: RouterInfo, width: number, { order, stage }: Look): Frame {
  const snapshots = Math.floor(history.length / (2 * width))
  const sums = new Float64Array(router.experts)
  const means = new Float64Array(snapshots)
  for (let t = 0; t < snapshots; t++) {
    means[t] = meanLoad(history, t * 2 * width, router.experts)
    for (let expert = 0; expert < router.experts; expert++)
      sums[expert] = (sums[expert] ?? 0) + (history[t * 2 * width + expert] ?? 0)
  }
  const experts = sortedExperts(router, order, (expert) => sums[expert] ?? 0)
  const values = new Float32Array(experts.length * snapshots)
  const marks = new Uint8Array(values.length)
  experts.forEach((expert, row) => {
    for (let t = 0; t < snapshots; t++) {
      const before = t * 2 * width + expert
      const mean = means[t] ?? 0
      values[row * snapshots + t] = mean > 0 ? (history[stage === 'before' ? before : before + width] ?? 0) / mean : 0
      marks[row * snapshots + t] = markOf(history[before] ?? 0, mean)
    }
  })
  return {
    rows: experts.length,
    columns: snapshots,
    values,
    marks,
    rowGaps: gapsOf([router], order),
    columnGaps: [],
    expertAt: (row) => experts[row] ?? -1,
  }
}

/**
 * - `number`: experts as they are numbered
 * - `load`: the most loaded expert first
 * - `prototype`: prototypes with gaps between them, and in each the most loaded expert first
 */
export const orders = ['number', 'load', 'prototype'] as const
export type Order = (typeof orders)[number]

type Experts = Pick<RouterInfo, 'experts' | 'prototypes'>

/** Experts in display order. Of equal loads the lower number comes first, so that the order does not flicker. */
export function sortedExperts(
  { experts, prototypes }: Experts,
  order: Order,
  load: (expert: number) => number,
): number[] {
  const sorted = Array.from({ length: experts }, (_, expert) => expert)
  if (order === 'number') return sorted
  const group = order === 'prototype' ? experts / prototypes : experts
  return sorted.sort((a, b) => Math.floor(a / group) - Math.floor(b / group) || load(b) - load(a) || a - b)
}

/** Positions with a gap before them; empty if the routers disagree. */
export function gapsOf(routers: readonly Experts[], order: Order): number[] {
  const [first, ...rest] = routers
  if (order !== 'prototype' || first === undefined || first.prototypes < 2) return []
  const { experts, prototypes } = first
  if (rest.some((other) => other.experts !== experts || other.prototypes !== prototypes)) return []
  return Array.from({ length: prototypes - 1 }, (_, z) => ((z + 1) * experts) / prototypes)
}
