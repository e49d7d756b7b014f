/**
 * The first pass over a record: counts of choices by expert, by group of documents, by token and by pair of experts.
 *
 * Memory is a table of tokens × experts for each router, where tokens are the different ones of the text, and not the
 * length of the text.
 */

import type { RecordedRouter, Route, RoutedToken } from '../../../node/routes/format.ts'
import type { Table } from '../../../use/infer/information.ts'

/** Counts of a router. N is its number of experts, G the number of groups of documents. */
export class RouterCounts {
  readonly router: RecordedRouter
  /** Choices by group and expert [G, N]. */
  readonly chosen_GN: Float64Array
  /** Choices, refused choices, and sums of gates of each expert [N]. */
  readonly chosen_N: Float64Array
  readonly dropped_N: Float64Array
  readonly gate_N: Float64Array
  /** Tokens that chose both experts, for the first below the second [N, N]. */
  readonly together_NN: Float64Array
  entropy = 0
  hasEntropy = false
  /** Choices by kind of token and expert. */
  private byKind: Uint32Array

  constructor(router: RecordedRouter, groups: number) {
    const { experts } = router
    this.router = router
    this.chosen_GN = new Float64Array(groups * experts)
    this.chosen_N = new Float64Array(experts)
    this.dropped_N = new Float64Array(experts)
    this.gate_N = new Float64Array(experts)
    this.together_NN = new Float64Array(experts * experts)
    this.byKind = new Uint32Array(256 * experts)
  }

  add({ experts, gates, entropy, dropped }: Route, kind: number, group: number): void {
    const N = this.router.experts
    if ((kind + 1) * N > this.byKind.length) {
      const larger = new Uint32Array(2 * (kind + 1) * N)
      larger.set(this.byKind)
      this.byKind = larger
    }
    for (const [i, expert] of experts.entries()) {
      increase(this.chosen_GN, group * N + expert)
      increase(this.chosen_N, expert)
      increase(this.gate_N, expert, gates[i])
      increase(this.byKind, kind * N + expert)
      for (let j = 0; j < i; j++) {
        const other = experts[j] as number
        increase(this.together_NN, Math.min(expert, other) * N + Math.max(expert, other))
      }
    }
    for (const expert of dropped) increase(this.dropped_N, expert)
    if (entropy === null) return
    this.entropy += entropy
    this.hasEntropy = true
  }

  /** Choices by kind of token and expert [kinds, N]. */
  table(kinds: number): Table {
    const { experts } = this.router
    return { rows: kinds, columns: experts, counts: Float64Array.from(this.byKind.subarray(0, kinds * experts)) }
  }
}

const increase = (counts: Float64Array | Uint32Array, at: number, by = 1): void => {
  counts[at] = (counts[at] as number) + by
}

/** Counts of a whole record. */
export class RecordCounts {
  readonly routers: readonly RouterCounts[]
  /** Number of tokens of each group of documents. */
  readonly tokens_G: Float64Array
  /** Id, text and number of occurrences of each kind of token. */
  readonly ids: number[] = []
  readonly texts: string[] = []
  readonly occurrences: number[] = []
  private readonly kinds = new Map<number, number>()

  constructor(routers: readonly RecordedRouter[], groups: number) {
    this.routers = routers.map((router) => new RouterCounts(router, groups))
    this.tokens_G = new Float64Array(groups)
  }

  add({ token, text, routes }: RoutedToken, group: number): void {
    let kind = this.kinds.get(token)
    if (kind === undefined) {
      kind = this.ids.length
      this.kinds.set(token, kind)
      this.ids.push(token)
      this.texts.push(text)
      this.occurrences.push(0)
    }
    this.occurrences[kind] = (this.occurrences[kind] as number) + 1
    increase(this.tokens_G, group)
    for (const [i, route] of routes.entries()) this.routers[i]?.add(route, kind, group)
  }

  kindOf(token: number): number {
    return this.kinds.get(token) as number
  }
}
