/**
 * The loads of experts over time, in bounded memory. A snapshot is a step at which routers were recorded; of every
 * router it holds a row of numbers. When there are more snapshots than may be kept, every second is dropped and from
 * then on only every second new one is kept, so that those kept are always evenly spaced from the first on: number 0,
 * `stride`, 2 · `stride`, ... in the order of steps.
 *
 * Rows lie by router in the order in which routers appeared; readers see routers by layer. So a router that appears
 * late, or an expert that was never seen before, moves nothing: what a row does not have is 0.
 */
import { randomInt } from 'node:crypto'
import type { RouterInfo, RoutingHistory, RoutingIndex } from '../api.ts'
import { lowerBound } from './metric-columns.ts'

export const measures = [
  'load_cv',
  'load_cv_kept',
  'drop_rate',
  'gate_entropy',
  'dead_experts',
  'max_over_mean',
] as const satisfies readonly (keyof RoutingHistory)[]

/** Loads before drops [experts], loads after [experts], then the measures; NaN for one that is not known. */
export type Row = Float32Array

const MAX_KEPT = 2048
/** More than any model has: a file of invented routers must not fill the memory. */
const MAX_ROUTERS = 1024
export const MAX_EXPERTS = 16_384

export interface Snapshot {
  readonly step: number
  /** Number in the order of steps, counting those that are not kept. */
  readonly ordinal: number
  readonly rows: (Row | undefined)[]
  arrived: number
  /** Of its rows. */
  bytes: number
}

export const emptyRow = (experts: number): Row =>
  new Float32Array(2 * experts + measures.length).fill(Number.NaN, 2 * experts)

export const expertsOf = (row: Row): number => (row.length - measures.length) / 2

export class Snapshots {
  /**
   * Grows when a kept snapshot changes its place or its numbers. Begins anywhere: a page may still hold what the reader
   * before this one told, of a run that has been made anew or under a server that has been started anew.
   */
  generation = randomInt(2 ** 31)
  private readonly prototypes: number
  private readonly routersExpected: number
  private memory = Number.POSITIVE_INFINITY
  private stride = 1
  private steps: number[] = []
  private kept: Snapshot[] = []
  private bytes = 0
  private isSettled = false
  private readonly numbers = new Map<string, number>()
  private readonly appeared: RouterInfo[] = []
  /** Numbers of routers, by layer. */
  private order: number[] = []

  /** @param routers How many a snapshot has when it is complete, where that is known. */
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

  /** Largest number of experts. */
  get experts(): number {
    return this.appeared.reduce((most, { experts }) => Math.max(most, experts), 0)
  }

  /** Those that are complete. The last is once another begins, all its routers are there, or nothing more comes. */
  get complete(): readonly Snapshot[] {
    const last = this.kept.at(-1)
    return last && this.isOpen(last) ? this.kept.slice(0, -1) : this.kept
  }

  /** What there is; undefined before the first complete snapshot. */
  index(run: string): RoutingIndex | undefined {
    const { complete, routers, experts, generation } = this
    if (complete.length === 0 || routers.length === 0) return undefined
    return { run, routers, experts, steps: complete.map(({ step }) => step), of: this.steps.length, generation }
  }

  /** Bytes that rows may take. */
  limit(memory: number): void {
    this.memory = memory
    this.makeRoom()
  }

  /** Starts with keeping every so many only, as expected for a file that holds `count` snapshots of these bytes. */
  expect(count: number, bytesEach: number): void {
    if (this.stride > 1) return
    while (count / this.stride > MAX_KEPT || (count / this.stride) * bytesEach > this.memory) this.stride *= 2
    this.dropThinned()
  }

  /** The snapshot of a step, a new one when it is later than all; undefined when it is not kept. */
  enter(step: number): Snapshot | undefined {
    const ordinal = lowerBound(this.steps, step)
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

  /** Forgets `step` and later ones. Looks at those alone: a file may go back at every line. */
  rewind(step: number): void {
    this.steps.length = lowerBound(this.steps, step)
    for (let last = this.kept.at(-1); last && last.step >= step; last = this.kept.at(-1)) {
      this.bytes -= last.bytes
      this.kept.pop()
    }
    this.generation++
  }

  clear(): void {
    this.rewind(Number.NEGATIVE_INFINITY)
    this.stride = 1
    this.numbers.clear()
    this.appeared.length = this.order.length = 0
  }

  /**
   * What is there of the last snapshot is all of it, as far as anyone knows.
   * @returns whether a snapshot is complete that was not before.
   */
  settle(): boolean {
    const before = this.complete.length
    this.isSettled = true
    return this.complete.length > before
  }

  row(snapshot: Snapshot, layer: number, module: string): Row | undefined {
    const number = this.numbers.get(`${layer} ${module}`)
    return number === undefined ? undefined : snapshot.rows[number]
  }

  put(snapshot: Snapshot, layer: number, module: string, row: Row): void {
    const number = this.numberOf(layer, module, expertsOf(row))
    if (number === undefined) return
    // Whoever has seen it looks again.
    if (!this.isOpen(snapshot)) this.generation++
    const before = snapshot.rows[number]
    snapshot.rows[number] = row
    if (!before) snapshot.arrived++
    const more = row.byteLength - (before?.byteLength ?? 0)
    snapshot.bytes += more
    this.bytes += more
    this.makeRoom()
  }

  /** [to - from][routers][2][experts] of complete snapshots. */
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

  /** [snapshots][2][experts] of a router. */
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
      const of = (row: Row | undefined): number | null => {
        const value = row?.[row.length - measures.length + index] ?? Number.NaN
        return Number.isFinite(value) ? value : null
      }
      return [name, rows.map(of)] as const
    })
    return Object.fromEntries(values) as unknown as RoutingHistory
  }

  private isOpen({ step, arrived }: Snapshot): boolean {
    return step === this.lastStep && !this.isSettled && arrived < this.routersToCome()
  }

  private routersToCome(): number {
    if (this.routersExpected > 0) return this.routersExpected
    // Of the first snapshot nobody knows how many are to come.
    return this.steps.length > 1 ? this.appeared.length : Number.POSITIVE_INFINITY
  }

  private numberOf(layer: number, module: string, experts: number): number | undefined {
    const key = `${layer} ${module}`
    const number = this.numbers.get(key) ?? this.appeared.length
    const known = this.appeared[number]
    if (known && known.experts >= experts) return number
    if (!known && number >= MAX_ROUTERS) return undefined
    this.numbers.set(key, number)
    this.appeared[number] = { layer, module, experts, prototypes: this.prototypes }
    // A change of shape: numbers that a reader holds are no longer where they were.
    if (this.steps.length > 1) this.generation++
    if (!known) {
      this.order.push(number)
      // Stable, so modules of a layer stay in the order in which they appeared.
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
    const left = this.kept.filter(({ ordinal }) => ordinal % this.stride === 0)
    if (left.length === this.kept.length) return
    this.kept = left
    this.bytes = left.reduce((sum, { bytes }) => sum + bytes, 0)
    this.generation++
  }
}

function copyLoads(row: Row | undefined, to: Float32Array, offset: number, experts: number): void {
  if (!row) return
  const own = expertsOf(row)
  to.set(row.subarray(0, own), offset)
  to.set(row.subarray(own, 2 * own), offset + experts)
}
