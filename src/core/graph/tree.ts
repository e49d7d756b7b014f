/**
 * The tree in which parts of a gradient are added. It has the shape of a Merkle tree (RFC 6962, section 2.1): the first
 * subtree has the largest power of two below the number of leaves. Float additions depend on their order; in a fixed
 * tree a sum has the same bits wherever its parts are computed.
 */

/** An addition of the tree: the sum at leaf `from` is added to the sum at leaf `into`. */
export interface TreeAddition {
  readonly into: number
  readonly from: number
}

/** The additions of a tree of `leaves`, in order. The sum ends at leaf `at`, any leaf: a + b is b + a, bit for bit. */
export function treeAdditions(leaves: number, at: number): TreeAddition[] {
  const additions: TreeAddition[] = []
  const sum = (from: number, to: number): number => {
    if (to - from === 1) return from
    const middle = from + 2 ** (Math.ceil(Math.log2(to - from)) - 1)
    const [left, right] = [sum(from, middle), sum(middle, to)]
    const [into, other] = at >= middle && at < to ? [right, left] : [left, right]
    additions.push({ into, from: other })
    return into
  }
  sum(0, leaves)
  return additions
}

/** Largest number of partial sums that wait at a time in a tree of `count` leaves. */
export const counterSums = (count: number): number => Math.ceil(Math.log2(count))

/**
 * The additions of a tree whose leaves come one after the other. Partial sums are like the bits of a binary counter:
 * the result for leaf `index` of `count` (from 0) has the partial sums to add to the leaf, in order, and the number of
 * the partial sum that it becomes; null for the last leaf, which becomes the whole sum.
 */
export function counterStep(
  index: number,
  count: number,
): { readonly add: readonly number[]; readonly keepAt: number | null } {
  const add: number[] = []
  let level = 0
  while (Math.floor(index / 2 ** level) % 2 === 1) add.push(level++)
  if (index < count - 1) return { add, keepAt: level }
  // The last leaf: add the partial sums that still wait, the smallest first.
  for (level++; 2 ** level <= index; level++) if (Math.floor(index / 2 ** level) % 2 === 1) add.push(level)
  return { add, keepAt: null }
}

/**
 * Number of leaves of a subtree if a tree of `leaves` is cut into at least `wanted` subtrees, or into single leaves if
 * it has fewer. It is a power of two, and the last subtree may have fewer leaves; or all leaves if one subtree is
 * wanted.
 */
export function subtreeLeaves(leaves: number, wanted: number): number {
  if (wanted <= 1) return leaves
  let size = 1
  while (Math.ceil(leaves / (2 * size)) >= wanted) size *= 2
  return size
}
