/** The assignments that the experts of each rank compute. */

import type { LayerCounts } from '../../../core/model/routing/statistics.ts'
import { addStatistics } from '../metrics/pass-statistics.ts'
import type { Layout } from '../store/placement.ts'

/**
 * @param passes `CompiledPass.statistics` of all passes, in the order of their ranks.
 * @param empty Zero counts to add to.
 * @returns Assignments by rank, over all layers; null if every rank has all experts.
 */
export function keptByRank(
  passes: readonly Float64Array[],
  empty: () => readonly LayerCounts[],
  { ranks, expert }: Pick<Layout, 'ranks' | 'expert'>,
): number[] | null {
  if (expert === 1) return null
  const loads = new Array<number>(ranks).fill(0)
  passes.forEach((statistics, pass) => {
    const layers = empty()
    addStatistics(layers, statistics)
    const source = Math.floor((pass * ranks) / passes.length)
    const first = source - (source % expert)
    for (const { kept } of layers)
      kept.forEach((count, e) => {
        const rank = first + Math.floor((e * expert) / kept.length)
        loads[rank] = (loads[rank] as number) + count
      })
  })
  return loads
}
