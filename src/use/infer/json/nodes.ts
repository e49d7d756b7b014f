/**
 * A grammar over bytes as a graph. A node is a place in a text: its arcs say which bytes may come there, and which node
 * comes after them. A node may also call others, as a function is called: a text of one of them comes first, and then
 * the text goes on at the node `after`.
 *
 * Nodes are made when they are reached, since a string of up to a million characters has a million places. So a node is
 * identified by its key and not by the object.
 */
export interface Arcs {
  /** Ranges of bytes, and the node after them. */
  readonly bytes?: readonly (readonly [low: number, high: number, then: GrammarNode])[]
  /** Nodes whose arcs this node has too. */
  readonly also?: readonly GrammarNode[]
  readonly call?: { readonly starts: Iterable<GrammarNode>; readonly after: GrammarNode }
  /** Whether the text of a call may end here. */
  readonly ends?: true
}

export interface GrammarNode {
  readonly key: string
  arcs(): Arcs
}

let bases = 0

/** Returns a function that makes the nodes of a construct: `name` identifies a node in it. */
export function nodesOf(): (name: string | number, arcs: () => Arcs) => GrammarNode {
  const base = bases++
  return (name, arcs) => ({ key: `${base}.${name}`, arcs })
}

export const node = (arcs: () => Arcs): GrammarNode => nodesOf()('', arcs)

/** The end of each text that is called. */
export const END: GrammarNode = node(() => ({ ends: true }))

/** A text, byte by byte. */
export function literal(text: string, then: GrammarNode): GrammarNode {
  const bytes = new TextEncoder().encode(text)
  const make = nodesOf()
  const at = (i: number): GrammarNode => {
    const byte = bytes[i]
    return byte === undefined ? then : make(i, () => ({ bytes: [[byte, byte, at(i + 1)]] }))
  }
  return at(0)
}

/** A comma or a colon, and maybe one space. */
export const spaced = (mark: string, then: GrammarNode): GrammarNode =>
  literal(
    mark,
    node(() => ({ bytes: [[0x20, 0x20, then]], also: [then] })),
  )

/** Classes of bytes one after the other. A class is written as ranges in hexadecimal: `30-39,61-66`. */
export function sequence(classes: readonly string[], then: GrammarNode): GrammarNode {
  const make = nodesOf()
  const at = (i: number): GrammarNode => {
    const ranges = classes[i]?.split(',').map((range) => range.split('-').map((byte) => Number.parseInt(byte, 16)))
    if (!ranges) return then
    return make(i, () => ({ bytes: ranges.map(([low = 0, high = low]) => [low, high, at(i + 1)]) }))
  }
  return at(0)
}

/** Number of repetitions after one more. Without a maximum, all numbers from `min` on are alike. */
export const oneMore = (count: number, min: number, max: number): number =>
  max === Number.POSITIVE_INFINITY ? Math.min(count + 1, min) : count + 1
