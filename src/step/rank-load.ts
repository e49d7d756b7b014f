/** The assignments that the experts of each rank compute. */
import type { LayerCounts } from './statistics.ts'

/**
 * @param passes Kept assignments by layer and expert, of all passes in the order of their ranks.
 * @param ranks Number of ranks. @param expert Ranks that share the experts of a layer.
 * @returns Assignments by rank, over all layers.
 */
export function keptByRank(
  passes: readonly (readonly Pick<LayerCounts, 'kept'>[])[],
  ranks: number,
  expert: number,
): number[] {
  const loads = new Array<number>(ranks).fill(0)
  passes.forEach((layers, pass) => {
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
