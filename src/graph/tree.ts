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
