/**
 * The tree in which parts of a gradient are added, that of Merkle trees (RFC 6962, section 2.1): the first subtree has
 * the largest power of two below the number of leaves. Sums in it have the same bits wherever their parts are computed.
 */

/** An addition of the tree: the sum at leaf `into` becomes that of both. */
export interface TreeAddition {
  readonly into: number
  readonly from: number
}

/** The additions of a tree of `leaves`, in order. The sum ends at leaf `at`: a + b is b + a, bit for bit. */
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

/** Partial sums that wait in a tree of `count` leaves at most. */
export const counterSums = (count: number): number => Math.ceil(Math.log2(count))

/**
 * The additions of a tree whose leaves come one after the other, as those of a binary counter: after leaf `index` of
 * `count` (from 0), the partial sums to add to it, in order, and which one it becomes; null: none, it is the last.
 */
export function counterStep(
  index: number,
  count: number,
): { readonly add: readonly number[]; readonly keepAt: number | null } {
  const add: number[] = []
  let level = 0
  while (Math.floor(index / 2 ** level) % 2 === 1) add.push(level++)
  if (index < count - 1) return { add, keepAt: level }
  // The last one: add what still waits, the smallest first.
  for (level++; 2 ** level <= index; level++) if (Math.floor(index / 2 ** level) % 2 === 1) add.push(level)
  return { add, keepAt: null }
}

/**
 * The leaves of a subtree, so that a tree of `leaves` is cut into at least `wanted` of them, if it has as many: a power
 * of two, the last subtree may have fewer; or all leaves.
 */
export function subtreeLeaves(leaves: number, wanted: number): number {
  if (wanted <= 1) return leaves
  let size = 1
  while (Math.ceil(leaves / (2 * size)) >= wanted) size *= 2
  return size
}
