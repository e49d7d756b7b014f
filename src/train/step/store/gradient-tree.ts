/**
 * The order in which gradients of shards are added.
 *
 * Floating-point sums depend on their order. So that a training has the same bits on any number of ranks, the P
 * gradients of a step are added in a fixed tree, which has the form of Merkle trees (RFC 6962, section 2.1): the first
 * subtree has the largest power of two below P leaves. If each rank has a power of two of consecutive shards, its sum
 * is a subtree, and the tree over ranks has the same form. A rank adds its shards like a binary counter: a sum of 2ⁱ
 * shards waits in partial sum i for the next sum of its size. (The tree itself is in `src/core/graph/tree.ts`.)
 *
 * @example P = 6: ((0 + 1) + (2 + 3)) + (4 + 5). Three ranks compute the sums of two, then the tree over three.
 */
import { counterSums } from '../../../core/graph/tree.ts'
import type { Layout } from './placement.ts'

/** Number of shards of a rank. */
export const shardsOfRank = ({ shards, ranks }: Layout): number => shards / ranks

/** Number of partial sums that a rank keeps. */
export const partialSums = (layout: Layout): number => counterSums(shardsOfRank(layout))

const isPowerOfTwo = (n: number): boolean => Number.isInteger(Math.log2(n))

/** Whether sums have the same bits as in every other such layout with as many shards. */
export function isReproducible({ ranks, expert, shards }: Layout): boolean {
  return (ranks === 1 || isPowerOfTwo(shards / ranks)) && (expert === ranks || isPowerOfTwo(expert))
}
