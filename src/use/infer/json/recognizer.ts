/**
 * Reads a text by a grammar, byte by byte. A state has all places of the grammar where the text may be, as items: a node,
 * and the state that a call returns to. The calls of one node at one byte share the state that they return to. So a state
 * has at most a few items for each node of the grammar, even if the text can be read in exponentially many ways (this is
 * the graph-structured stack of Tomita, "Efficient Parsing for Natural Language", 1985).
 *
 * States do not change, and equal states are the same object. So what follows from a state is computed once.
 */
import type { GrammarNode } from './nodes.ts'

type Item = readonly [node: GrammarNode, below: State | null]

/** Number of states that are kept. */
const MAX_STATES = 5000

/** A state of a text. Its fields belong to {@link Recognizer}. */
export class State {
  readonly id: number
  readonly items: readonly Item[]
  /** The items with the bytes that may come, after calls and ends. */
  expanded: Expanded | undefined
  /** The states after bytes. */
  next: (State | null)[] = []

  constructor(id: number, items: readonly Item[]) {
    this.id = id
    this.items = items
  }
}

interface Expanded {
  readonly items: readonly Item[]
  readonly isComplete: boolean
}

export class Recognizer {
  readonly start: State
  private ids = 0
  private states = new Map<string, State>()

  /** @param starts The nodes with one of which a text begins. */
  constructor(starts: Iterable<GrammarNode>) {
    this.start = this.state(Array.from(starts, (start) => [start, null]))
  }

  /** The state after a byte; null if the byte cannot come. */
  next(state: State, byte: number): State | null {
    const known = state.next[byte]
    if (known !== undefined) return known
    const items: Item[] = []
    for (const [node, below] of this.expanded(state).items)
      for (const [low, high, then] of node.arcs().bytes ?? [])
        if (low <= byte && byte <= high) items.push([then, below])
    const next = items.length > 0 ? this.state(items) : null
    state.next[byte] = next
    return next
  }

  /** Whether the text may end. */
  isComplete(state: State): boolean {
    return this.expanded(state).isComplete
  }

  /** Whether the text can only end. */
  isOver(state: State): boolean {
    const { items, isComplete } = this.expanded(state)
    return isComplete && items.length === 0
  }

  private expanded(state: State): Expanded {
    state.expanded ??= this.expand(state)
    return state.expanded
  }

  private expand(state: State): Expanded {
    const items: Item[] = []
    let isComplete = false
    const seen = new Set<string>()
    const left = [...state.items]
    while (left.length > 0) {
      const calls = new Map<string, { readonly start: GrammarNode; readonly returns: Item[] }>()
      for (let item = left.pop(); item !== undefined; item = left.pop()) {
        if (seen.has(keyOf(item))) continue
        seen.add(keyOf(item))
        const [node, below] = item
        const { bytes, also = [], call, ends } = node.arcs()
        if (bytes?.length) items.push(item)
        if (ends && below) left.push(...below.items)
        if (ends && !below) isComplete = true
        for (const other of also) left.push([other, below])
        if (!call) continue
        for (const start of call.starts) {
          const known = calls.get(start.key)
          if (known) known.returns.push([call.after, below])
          else calls.set(start.key, { start, returns: [[call.after, below]] })
        }
      }
      // All calls are known: calls of the same node return to the same state.
      for (const { start, returns } of calls.values()) left.push([start, this.state(returns)])
    }
    return { items, isComplete }
  }

  /** The state with some items. */
  private state(given: readonly Item[]): State {
    const byKey = new Map(given.map((item) => [keyOf(item), item]))
    const key = [...byKey.keys()].sort().join()
    const known = this.states.get(key)
    if (known) return known
    if (this.states.size >= MAX_STATES) this.forget()
    const state = new State(this.ids++, [...byKey.values()])
    this.states.set(key, state)
    return state
  }

  /** Forgets what follows from each state, so that states that are not in use are freed. */
  private forget(): void {
    for (const state of [this.start, ...this.states.values()]) {
      state.next = []
      state.expanded = undefined
    }
    this.states = new Map()
  }
}

const keyOf = ([{ key }, below]: Item): string => `${key}@${below?.id ?? ''}`
