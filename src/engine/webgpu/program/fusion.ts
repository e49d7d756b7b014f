/**
 * Decides which values of a program have memory, and which nodes are computed by one dispatch.
 *
 * Think of three kinds of nodes. *Kernels* are written by hand and read and write memory. *Maps* compute an element of
 * their result from elements of their operands (`codegen/maps.ts`), so the expression of a map can be written wherever
 * its result is read: it is *inlined*, unless it would be computed too often. *Reductions* add up rows. Maps that are
 * not inlined, and reductions, are *roots*: they are computed in *groups*, with as many roots as go over the same rows.
 * Small groups that do not need each other share a dispatch as a *bundle* (`bundles.ts`).
 */
import { sizeOf } from '../../../core/graph/shape.ts'
import type { Node, Tensor } from '../../../core/graph/tensor.ts'
import { patternOf } from '../codegen/literals.ts'
import { baseOf, costOf, dataInputs, isAlias, isElementwise, isMap, isReduction } from '../codegen/maps.ts'
import { bundled } from './bundles.ts'
import {
  type Bundle,
  commonSpace,
  type Group,
  type Item,
  isAlike,
  type KernelItem,
  MAX_OPERANDS,
  type Root,
  type Space,
  spaceOf,
} from './groups.ts'
import type { OrderedProgram } from './rewrite.ts'

/** Maximum number of operands of an expression, so that it fits into a dispatch with results. */
const MAX_LEAVES = 6
/** Maximum number of operations per element that are repeated rather than stored. */
const MAX_REPEATED = 6
/** Number of rounds of choosing: a round uses the costs of the round before. */
const ROUNDS = 4
/** Tensors by identity, which is the identity of their node and output, or of their source. */
class Tensors {
  private readonly known = new Map<object, Tensor[]>()

  /** The one object for all uses of a tensor. */
  unique(tensor: Tensor): Tensor {
    const base = baseOf(tensor)
    const outputs = this.known.get(base.source) ?? []
    this.known.set(base.source, outputs)
    outputs[base.output] ??= base
    return outputs[base.output] as Tensor
  }

  of(node: Node, output: number): Tensor {
    return this.unique({ ...(node.outputs[output] as Tensor), source: node, output })
  }
}

export class Fusion {
  readonly tensors = new Tensors()
  /** Bundles and kernels, in a valid order. */
  readonly items: readonly (Bundle | KernelItem)[]
  private readonly program: OrderedProgram
  private readonly readers = new Map<Tensor, Node[]>()
  /** Tensors that must be in memory: operands of kernels, and results of the program. */
  private readonly fixed = new Set<Tensor>()
  private readonly inlined = new Set<Tensor>()
  private readonly leavesOf = new Map<Tensor, ReadonlySet<Tensor>>()
  private readonly producer = new Map<Tensor, Item>()
  private readonly needs = new Map<Item, Set<Item>>()
  private readonly groupsReading = new Map<Tensor, Set<Group>>()

  constructor(program: OrderedProgram) {
    this.program = program
    this.findReaders()
    this.chooseInlined()
    const items = this.inOrder(this.group())
    for (const item of items)
      if (item.kind === 'group')
        for (const leaf of item.roots.flatMap(({ leaves }) => [...leaves]))
          this.groupsReading.set(leaf, (this.groupsReading.get(leaf) ?? new Set()).add(item))
    this.items = bundled(items, this.needs, (group) => {
      const { read, written } = this.operandsOf(group)
      return [...read, ...written]
    })
  }

  /** Whether the expression of a tensor is written where it is read. */
  isInlined(tensor: Tensor): boolean {
    return this.inlined.has(this.tensors.unique(tensor))
  }

  /** Tensors with memory that a group reads, and tensors that it writes. */
  operandsOf(group: Group): { readonly read: ReadonlySet<Tensor>; readonly written: ReadonlySet<Tensor> } {
    const results = new Set(group.roots.map(({ node, output }) => this.tensors.of(node, output)))
    const read = group.roots.flatMap(({ leaves }) => [...leaves]).filter((tensor) => !results.has(tensor))
    const isStored = (tensor: Tensor) =>
      this.fixed.has(tensor) || [...(this.groupsReading.get(tensor) ?? [])].some((reader) => reader !== group)
    return { read: new Set(read), written: new Set([...results].filter(isStored)) }
  }

  /**
   * The first input of a kernel that may write its first output there, if nothing else reads that input; null
   * otherwise.
   */
  overwrittenBy(node: Node): Tensor | null {
    const [input] = node.inputs
    if (!node.kernel?.overwrites || !input) return null
    const base = this.tensors.unique(input)
    const isBound = Object.values(this.program.outputs).some((tensor) => {
      const unique = this.tensors.unique(tensor)
      return unique === base || unique === this.tensors.of(node, 0)
    })
    return base.source.kind === 'node' && !isBound && this.readers.get(base)?.length === 1 ? base : null
  }

  private findReaders(): void {
    for (const node of this.program.nodes) {
      if (isAlias(node)) continue
      for (const tensor of dataInputs(node)) {
        const base = this.tensors.unique(tensor)
        this.readers.set(base, [...(this.readers.get(base) ?? []), node])
        if (!isMap(node) && !isReduction(node)) this.fixed.add(base)
      }
    }
    for (const tensor of Object.values(this.program.outputs)) this.fixed.add(this.tensors.unique(tensor))
  }

  private chooseInlined(): void {
    const own = this.program.nodes.filter((node) => !isAlias(node))
    const maps = own.filter(isMap)
    for (const node of maps) for (const tensor of this.outputsOf(node)) this.inlined.add(tensor)
    // The cost of an expression depends on which of its operands have memory, and this choice depends on costs.
    for (let round = 0; round < ROUNDS; round++) this.keepCostly(own, this.costs(maps))
    for (const node of own) this.narrow(node)
    // Operands that have memory by now are leaves of all their readers.
    for (const node of own) this.findLeaves(node)
  }

  /**
   * Number of operations for an element of each map, including its inlined operands; a load counts as one operation.
   */
  private costs(maps: readonly Node[]): ReadonlyMap<Node, number> {
    const costs = new Map<Node, number>()
    for (const node of maps) {
      const operands = dataInputs(node).map((tensor) => this.tensors.unique(tensor))
      const costOfOperand = (tensor: Tensor) =>
        this.inlined.has(tensor) ? (costs.get(tensor.source as Node) ?? 0) : leafOf(tensor).length
      costs.set(node, costOf(node) + operands.reduce((cost, tensor) => cost + costOfOperand(tensor), 0))
    }
    return costs
  }

  /** Inlines maps, except for maps that would repeat too much work. */
  private keepCostly(nodes: readonly Node[], costs: ReadonlyMap<Node, number>): void {
    // The number of times that elements of a node's result are computed.
    const evaluations = new Map<Node, number>()
    for (const node of nodes.toReversed()) {
      const outputs = this.outputsOf(node)
      const all = outputs.reduce((sum, { shape }) => sum + sizeOf(shape), 0)
      evaluations.set(node, isReduction(node) ? sizeOf((node.inputs[0] as Tensor).shape) : all)
      const cost = costs.get(node)
      if (cost === undefined) continue
      const readers = outputs.flatMap((tensor) => this.readers.get(tensor) ?? [])
      const repeated = readers.reduce((sum, reader) => sum + (evaluations.get(reader) ?? 0), 0)
      const isCostly = cost * (repeated / Math.max(all, 1) - 1) > MAX_REPEATED
      const hasMemory = isCostly || outputs.some((tensor) => this.fixed.has(tensor))
      for (const tensor of outputs) hasMemory ? this.inlined.delete(tensor) : this.inlined.add(tensor)
      if (!hasMemory) evaluations.set(node, repeated)
    }
  }

  private findLeaves(node: Node): ReadonlySet<Tensor> {
    const operands = dataInputs(node).map((tensor) => this.tensors.unique(tensor))
    const leaves = operands.flatMap((tensor) =>
      this.inlined.has(tensor) ? [...(this.leavesOf.get(tensor) ?? [])] : leafOf(tensor),
    )
    const found = new Set(leaves)
    for (const tensor of this.outputsOf(node)) this.leavesOf.set(tensor, found)
    return found
  }

  /** Gives memory to operands of an expression that has too many leaves. */
  private narrow(node: Node): void {
    const operands = dataInputs(node).map((tensor) => this.tensors.unique(tensor))
    while (this.findLeaves(node).size > MAX_LEAVES && (isMap(node) || isReduction(node))) {
      const size = (tensor: Tensor) => (this.inlined.has(tensor) ? (this.leavesOf.get(tensor)?.size ?? 0) : 0)
      const widest = operands.toSorted((a, b) => size(b) - size(a))[0] as Tensor
      if (size(widest) < 2) return
      for (const tensor of this.outputsOf(widest.source as Node)) this.inlined.delete(tensor)
    }
  }

  private outputsOf(node: Node): Tensor[] {
    return node.outputs.map((_, output) => this.tensors.of(node, output))
  }

  /** Assigns every root to a group. */
  private group(): Item[] {
    const items: Item[] = []
    for (const node of this.program.nodes) {
      if (isAlias(node)) continue
      if (!isMap(node) && !isReduction(node)) {
        const item: KernelItem = { kind: 'kernel', node }
        items.push(item)
        const operands = dataInputs(node).map((tensor) => this.tensors.unique(tensor))
        this.needs.set(item, new Set(operands.flatMap((tensor) => this.producer.get(tensor) ?? [])))
        for (const tensor of this.outputsOf(node)) this.producer.set(tensor, item)
        continue
      }
      node.outputs.forEach((_, output) => {
        const tensor = this.tensors.of(node, output)
        if (this.inlined.has(tensor) || sizeOf(tensor.shape) === 0) return
        if (!this.fixed.has(tensor) && (this.readers.get(tensor) ?? []).length === 0) return
        const root: Root = { node, output, leaves: this.leavesOf.get(tensor) ?? new Set() }
        const group = this.find(root, items) ?? this.open(root, items)
        group.roots.push(root)
        this.producer.set(tensor, group)
        const needs = this.needs.get(group) ?? new Set()
        for (const leaf of root.leaves) {
          const producer = this.producer.get(leaf)
          if (producer && producer !== group) needs.add(producer)
        }
        this.needs.set(group, needs)
      })
    }
    return items
  }

  private open(root: Root, items: Item[]): Group {
    const group: Group = { kind: 'group', space: spaceOf(root), roots: [] }
    items.push(group)
    return group
  }

  /** A group that the root can join, or null: preferably a group that computes something that the root reads. */
  private find(root: Root, items: readonly Item[]): Group | null {
    const producers = [...root.leaves].flatMap((leaf) => this.producer.get(leaf) ?? [])
    const sharing = items.filter(
      (item): item is Group =>
        item.kind === 'group' && item.roots.some(({ leaves }) => intersects(leaves, root.leaves)),
    )
    const alike = isReduction(root.node) ? items.filter((item) => isAlike(item, spaceOf(root))) : []
    for (const group of [...producers.toReversed(), ...sharing.toReversed(), ...alike.toReversed()]) {
      if (group.kind !== 'group') continue
      const space = this.joined(group, root)
      if (!space) continue
      group.space = space
      return group
    }
    return null
  }

  /** The space of a group with one more root; null if the root cannot join. */
  private joined(group: Group, root: Root): Space | null {
    const space = commonSpace(group.space, spaceOf(root), root)
    if (!space) return null
    const written = new Set(group.roots.map(({ node, output }) => this.tensors.of(node, output)))
    const read = new Set([...group.roots.flatMap(({ leaves }) => [...leaves]), ...root.leaves])
    const operands = [...read].filter((tensor) => !written.has(tensor)).length + written.size + 1
    if (operands > MAX_OPERANDS) return null
    for (const leaf of root.leaves) {
      const producer = this.producer.get(leaf)
      if (producer === group) {
        const level = levelOf(leaf, root, space, this)
        const isRow = isReduction(leaf.source as Node) || sizeOf(leaf.shape) !== space.rows * space.width
        if (level !== (isRow && space.width > 1 ? 'row' : 'element')) return null
      } else if (producer && this.depends(producer, group)) return null
    }
    return space
  }

  /** Whether an item needs another, directly or not. */
  private depends(item: Item, on: Item): boolean {
    const seen = new Set<Item>([item])
    for (const each of seen) {
      if (each === on) return true
      for (const needed of this.needs.get(each) ?? []) seen.add(needed)
    }
    return false
  }

  /**
   * The items in an order in which each comes after the items that it needs, and otherwise at the place of its last
   * root.
   */
  private inOrder(items: readonly Item[]): Item[] {
    const place = new Map(this.program.nodes.map((node, i) => [node, i]))
    const lateness = (item: Item) =>
      item.kind === 'kernel'
        ? (place.get(item.node) ?? 0)
        : Math.max(...item.roots.map(({ node }) => place.get(node) ?? 0))
    const done = new Set<Item>()
    const order: Item[] = []
    const visit = (item: Item): void => {
      if (done.has(item)) return
      done.add(item)
      for (const needed of [...(this.needs.get(item) ?? [])].sort((a, b) => lateness(a) - lateness(b))) visit(needed)
      order.push(item)
    }
    for (const item of [...items].sort((a, b) => lateness(a) - lateness(b))) visit(item)
    return order
  }
}

/** A tensor as an operand of an expression; no operand if it is a constant that needs no memory. */
function leafOf(tensor: Tensor): Tensor[] {
  const { source } = tensor
  return source.kind === 'constant' && patternOf(source.data) ? [] : [tensor]
}

const intersects = (a: ReadonlySet<Tensor>, b: ReadonlySet<Tensor>): boolean => [...a].some((tensor) => b.has(tensor))

type Level = 'element' | 'row' | 'other'

/** The level of the rows at which the expression of a root reads a leaf: at its own element, or its own row. */
function levelOf(leaf: Tensor, { node, output }: Root, space: Space, fusion: Fusion): Level {
  const { rows, width } = space
  let found: Level | null = null
  const visit = (tensor: Tensor, level: Level): void => {
    const { source } = tensor
    if (fusion.tensors.unique(tensor) === leaf) {
      found = found === null || found === level ? level : 'other'
      return
    }
    if (source.kind !== 'node' || !(isAlias(source) || fusion.isInlined(tensor))) return
    visitOperands(source, tensor.shape, level)
  }
  const visitOperands = (of: Node, shape: readonly number[], level: Level): void => {
    for (const operand of dataInputs(of)) {
      if (isAlias(of)) visit(operand, level)
      else if (of.type === 'Expand' || isElementwise(of))
        visit(operand, broadcastLevel(operand.shape, shape, level, width))
      else visit(operand, 'other')
    }
  }
  const size = sizeOf((node.outputs[output] as Tensor).shape)
  const own: Level = width > 1 && size === rows ? 'row' : 'element'
  if (isReduction(node)) visit(node.inputs[0] as Tensor, space.across ? 'other' : 'element')
  else visitOperands(node, (node.outputs[output] as Tensor).shape, own)
  return found ?? 'other'
}

/** The level of an operand that is broadcast to `shape`. */
function broadcastLevel(operand: readonly number[], shape: readonly number[], level: Level, width: number): Level {
  if (sizeOf(operand) === sizeOf(shape)) return level
  if (level !== 'element' || width === 1) return 'other'
  // The last dimensions, `width` elements together, are 1; the others are equal.
  let [axis, product] = [shape.length, 1]
  while (axis > 0 && product < width) product *= shape[--axis] as number
  if (product !== width || operand.length !== shape.length) return 'other'
  return operand.every((d, i) => d === (i < axis ? shape[i] : 1)) ? 'row' : 'other'
}
