/**
 * The loads of experts over time, in bounded memory. A snapshot is a step at which routers were recorded, with a row of
 * numbers for each router. When there are too many snapshots, every second one is dropped, and from then on only every
 * second new one is kept. So the kept snapshots are always evenly spaced from the first: 0, `stride`, 2 · `stride`, ...
 * in the order of steps.
 *
 * Rows are stored by router in order of appearance; readers see routers sorted by layer. So a late router or a new
 * expert moves no stored numbers: loads that a row lacks are 0.
 */
import { bisectLeft } from 'd3-array'
import type { RouterInfo, RoutingHistory, RoutingIndex } from '../api.ts'

export const measures = [
  'load_cv',
  'load_cv_kept',
  'drop_rate',
  'gate_mean',
  'gate_entropy',
  'dead_experts',
  'max_over_mean',
] as const satisfies readonly (keyof RoutingHistory)[]

/** Loads before drops [experts], loads after drops [experts], then the measures; NaN for an unknown measure. */
export type Row = Float32Array

const MAX_KEPT = 2048
/** More than any model has: a file of invented routers must not fill the memory. */
const MAX_ROUTERS = 1024
export const MAX_EXPERTS = 16_384

export interface Snapshot {
  readonly step: number
  /** Index among all snapshots, kept or not. */
  readonly ordinal: number
  readonly rows: (Row | undefined)[]
  /** Number of its rows, and their bytes. */
  arrived: number
  bytes: number
}

export const emptyRow = (experts: number): Row =>
  new Float32Array(2 * experts + measures.length).fill(Number.NaN, 2 * experts)

export const expertsOf = (row: Row): number => (row.length - measures.length) / 2

/** The numbers of a line of routing.jsonl; undefined if it has no loads. */
export function rowOf(record: Readonly<Record<string, unknown>>): Row | undefined {
  const { tokens_per_expert: before, kept_per_expert: after = before } = record
  if (!Array.isArray(before) || !Array.isArray(after)) return undefined
  if (before.length === 0 || before.length !== after.length || before.length > MAX_EXPERTS) return undefined
  const row = emptyRow(before.length)
  for (let expert = 0; expert < before.length; expert++) {
    row[expert] = numberOr(before[expert], 0)
    row[before.length + expert] = numberOr(after[expert], 0)
  }
  for (const [index, name] of measures.entries()) row[2 * expertsOf(row) + index] = numberOr(record[name], Number.NaN)
  return row
}

export function numberOr<Other>(value: unknown, other: Other): number | Other {
  return typeof value === 'number' && Number.isFinite(value) ? value : other
}

export class Snapshots {
  /**
   * Number that grows when a kept snapshot changes its index or its numbers. It starts at random, because a page may
   * still hold data of an earlier reader, from before the run was recreated or the server restarted.
   */
  generation = Math.floor(Math.random() * 2 ** 31)
  private readonly prototypes: number
  private readonly routersExpected: number
  private memory = Number.POSITIVE_INFINITY
  private stride = 1
  private steps: number[] = []
  private kept: Snapshot[] = []
  private bytes = 0
  private isSettled = false
  private readonly routerNumbers = new Map<string, number>()
  private readonly appeared: RouterInfo[] = []
  /** Numbers of routers, sorted by layer. */
  private order: number[] = []

  /** @param routers Number of routers in a complete snapshot, if known. */
  constructor(prototypes = 1, routers?: number) {
    this.prototypes = prototypes
    this.routersExpected = routers ?? 0
  }

  get lastStep(): number {
    return this.steps.at(-1) ?? Number.NEGATIVE_INFINITY
  }

  get routers(): readonly RouterInfo[] {
    return this.order.flatMap((number) => this.appeared[number] ?? [])
  }

  /** Largest number of experts of a router. */
  get experts(): number {
    return this.appeared.reduce((max, { experts }) => Math.max(max, experts), 0)
  }

  /** Complete snapshots. The last one is complete once another begins, all its routers arrived, or it is settled. */
  get complete(): readonly Snapshot[] {
    const last = this.kept.at(-1)
    return last && this.isOpen(last) ? this.kept.slice(0, -1) : this.kept
  }

  /** Routers and complete snapshots of a run; undefined before the first complete snapshot. */
  index(run: string): RoutingIndex | undefined {
    const { complete, routers, experts, generation } = this
    if (complete.length === 0 || routers.length === 0) return undefined
    return { run, routers, experts, steps: complete.map(({ step }) => step), of: this.steps.length, generation }
  }

  /** Limits the bytes of all rows. */
  limit(memory: number): void {
    this.memory = memory
    this.makeRoom()
  }

  /** Sets the initial stride for a file that holds about `count` snapshots of `bytesEach`. */
  expect(count: number, bytesEach: number): void {
    if (this.stride > 1) return
    while (count / this.stride > MAX_KEPT || (count / this.stride) * bytesEach > this.memory) this.stride *= 2
    this.dropThinned()
  }

  /** The snapshot of a step, a new one if the step is later than all others; undefined if it is not kept. */
  enter(step: number): Snapshot | undefined {
    const ordinal = bisectLeft(this.steps, step)
    if (step <= this.lastStep) {
      const found = this.kept[ordinal / this.stride]
      return found?.step === step ? found : undefined
    }
    this.steps.push(step)
    this.isSettled = false
    if (ordinal % this.stride !== 0) return undefined
    const snapshot: Snapshot = { step, ordinal, rows: [], arrived: 0, bytes: 0 }
    this.kept.push(snapshot)
    return snapshot
  }

  /** Drops the snapshots of `step` and later. It examines no others, because a file may go back at every line. */
  rewind(step: number): void {
    this.steps.length = bisectLeft(this.steps, step)
    for (let last = this.kept.at(-1); last && last.step >= step; last = this.kept.at(-1)) {
      this.bytes -= last.bytes
      this.kept.pop()
    }
    this.generation++
  }

  clear(): void {
    this.rewind(Number.NEGATIVE_INFINITY)
    this.stride = 1
    this.routerNumbers.clear()
    this.appeared.length = this.order.length = 0
  }

  /**
   * Declares the last snapshot complete: no more of it is expected.
   * @returns whether this completed a snapshot
   */
  settle(): boolean {
    const before = this.complete.length
    this.isSettled = true
    return this.complete.length > before
  }

  row(snapshot: Snapshot, layer: number, module: string): Row | undefined {
    const number = this.routerNumbers.get(`${layer} ${module}`)
    return number === undefined ? undefined : snapshot.rows[number]
  }

  put(snapshot: Snapshot, layer: number, module: string, row: Row): void {
    const number = this.numberOf(layer, module, expertsOf(row))
    if (number === undefined) return
    // Pages that already have the snapshot must load it again.
    if (!this.isOpen(snapshot)) this.generation++
    const before = snapshot.rows[number]
    snapshot.rows[number] = row
    if (!before) snapshot.arrived++
    const added = row.byteLength - (before?.byteLength ?? 0)
    snapshot.bytes += added
    this.bytes += added
    this.makeRoom()
  }

  /** Loads of complete snapshots, of shape [to - from][routers][2][experts]. */
  loads(from: number, to: number): Float32Array {
    const { experts, order } = this
    const chosen = this.complete.slice(Math.max(0, from), Math.max(0, to))
    const loads = new Float32Array(chosen.length * order.length * 2 * experts)
    let offset = 0
    for (const { rows } of chosen)
      for (const number of order) {
        copyLoads(rows[number], loads, offset, experts)
        offset += 2 * experts
      }
    return loads
  }

  /** Loads of a router, of shape [snapshots][2][experts]. */
  history(router: number): Float32Array {
    const { experts, complete } = this
    const loads = new Float32Array(complete.length * 2 * experts)
    for (const [index, { rows }] of complete.entries())
      copyLoads(rows[this.order[router] ?? -1], loads, index * 2 * experts, experts)
    return loads
  }

  summary(router: number): RoutingHistory {
    const rows = this.complete.map(({ rows }) => rows[this.order[router] ?? -1])
    const values = measures.map((name, index) => {
      const valueIn = (row: Row | undefined): number | null => {
        const value = row?.[row.length - measures.length + index] ?? Number.NaN
        return Number.isFinite(value) ? value : null
      }
      return [name, rows.map(valueIn)] as const
    })
    return Object.fromEntries(values) as unknown as RoutingHistory
  }

  private isOpen({ step, arrived }: Snapshot): boolean {
    return step === this.lastStep && !this.isSettled && arrived < this.routersPerSnapshot()
  }

  private routersPerSnapshot(): number {
    if (this.routersExpected > 0) return this.routersExpected
    // During the first snapshot, the number of routers is unknown.
    return this.steps.length > 1 ? this.appeared.length : Number.POSITIVE_INFINITY
  }

  private numberOf(layer: number, module: string, experts: number): number | undefined {
    const key = `${layer} ${module}`
    const number = this.routerNumbers.get(key) ?? this.appeared.length
    const known = this.appeared[number]
    if (known && known.experts >= experts) return number
    if (!known && number >= MAX_ROUTERS) return undefined
    this.routerNumbers.set(key, number)
    this.appeared[number] = { layer, module, experts, prototypes: this.prototypes }
    // The layout changes, so numbers that a page holds have moved.
    if (this.steps.length > 1) this.generation++
    if (!known) {
      this.order.push(number)
      // The sort is stable, so modules of a layer stay in order of appearance.
      this.order.sort((a, b) => (this.appeared[a]?.layer ?? 0) - (this.appeared[b]?.layer ?? 0))
    }
    return number
  }

  private makeRoom(): void {
    while (this.kept.length > MAX_KEPT || (this.bytes > this.memory && this.kept.length > 1)) {
      this.stride *= 2
      this.dropThinned()
    }
  }

  private dropThinned(): void {
    const remaining = this.kept.filter(({ ordinal }) => ordinal % this.stride === 0)
    if (remaining.length === this.kept.length) return
    this.kept = remaining
    this.bytes = remaining.reduce((sum, { bytes }) => sum + bytes, 0)
    this.generation++
  }
}

function copyLoads(row: Row | undefined, to: Float32Array, offset: number, experts: number): void {
  if (!row) return
  const own = expertsOf(row)
  to.set(row.subarray(0, own), offset)
  to.set(row.subarray(own, 2 * own), offset + experts)
}
