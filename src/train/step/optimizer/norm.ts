/**
 * The gate of an update, by the global gradient norm: the root of the sum of squares of all gradients. Each unit (an
 * expert, or a block of rows of another tensor) has a sum of its own, so that the bits do not depend on how tensors are
 * spread over ranks.
 */
import type { Updated } from './updated.ts'

/**
 * The sums of squares of all updated units of the model, in its order, from those of the units that this rank owns.
 * @param sumOver Returns the sum of each value over ranks; every value is zero on all ranks but one.
 */
export const sumsOfAllRanks =
  ({ units, indices }: Updated, sumOver: (own: Float64Array) => Promise<Float64Array>) =>
  async (sums: readonly number[]): Promise<number[]> => {
    const place = new Map(indices.map((index, i) => [index, i]))
    const own = new Float64Array(indices.length)
    units.forEach(({ index }, i) => {
      own[place.get(index) as number] = sums[i] as number
    })
    return [...(await sumOver(own))]
  }
