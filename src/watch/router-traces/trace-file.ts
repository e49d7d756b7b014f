/**
 * A router trace of Megatron-Core (trace-record.ts): loads and tokens by step. A trace tells choices, not what
 * capacity drops: loads after drops are those before. The files of a folder are one trace, whose ranks are summed step
 * by step; of a step that is kept, the place of its lines is remembered, and its tokens are read again when someone
 * asks for them.
 */
import type { RoutingHistory, TokenTrace } from '../api.ts'
import { readInside } from '../runs/confined.ts'
import { leadingStep, parsed } from '../runs/routing-history.ts'
import { emptyRow, expertsOf, MAX_EXPERTS, type Row, type Snapshot, Snapshots } from '../runs/snapshots.ts'
import { type TraceRecord, traceRecord } from './trace-record.ts'
import { recordedTokens } from './trace-tokens.ts'

/** Bytes of a rank's step to look at: more than the tokens that are shown take. */
const MAX_READ = 64 << 20

/** Where the lines of a step lie in a file. */
interface Stretch {
  readonly file: number
  readonly start: number
  end: number
}

export class RouterTrace {
  /** What is kept of the files. */
  readonly snapshots = new Snapshots()
  private readonly root: string
  private readonly files: readonly string[]
  private readonly places = new WeakMap<Snapshot, Stretch[]>()
  /** Last step of each file. */
  private readonly reached: number[] = []
  private strange = 0
  private backward = 0

  /** @param files Paths of the ranks' files. */
  constructor(root: string, files: readonly string[]) {
    this.root = root
    this.files = files
  }

  /** What is wrong with the files, in a sentence. */
  get problem(): string | undefined {
    if (this.backward > 0)
      return `lines that go back to an earlier step are left out: ${this.backward} (expected the lines of one run)`
    return this.strange > 0 ? `lines that are no record of a router are left out: ${this.strange}` : undefined
  }

  /** Last step. */
  get step(): number {
    return Math.max(0, this.snapshots.lastStep)
  }

  add(file: number, line: Buffer, start: number): void {
    const step = leadingStep(line) ?? parsed(line)?.step
    if (typeof step !== 'number' || !Number.isFinite(step)) {
      if (line.length > 0) this.strange++
      return
    }
    if (step < (this.reached[file] ?? Number.NEGATIVE_INFINITY)) {
      this.backward++
      return
    }
    this.reached[file] = step
    const snapshot = this.snapshots.enter(step)
    if (!snapshot) return
    const record = traceRecord(parsed(line))
    if (!record) this.strange++
    else if (this.count(snapshot, record)) this.remember(snapshot, file, start, start + line.length)
  }

  /** Forgets what was read; all files are to be read again, because sums of ranks cannot be taken apart. */
  clear(): void {
    this.snapshots.clear()
    this.reached.length = 0
    this.strange = this.backward = 0
  }

  /** Measures of a router, as far as they follow from loads before drops. */
  summary(router: number): RoutingHistory {
    const { experts: width } = this.snapshots
    const experts = this.snapshots.routers[router]?.experts ?? 0
    const history = this.snapshots.history(router)
    const loads = this.snapshots.complete.map((_, index) =>
      history.subarray(index * 2 * width, index * 2 * width + experts),
    )
    const unknown = loads.map(() => null)
    const means = loads.map((counts) => counts.reduce((sum, count) => sum + count, 0) / experts)
    const overMean = (of: (counts: Float32Array, mean: number) => number) =>
      loads.map((counts, index) => (means[index] ? of(counts, means[index]) : 0))
    return {
      load_cv: overMean(
        (counts, mean) => Math.sqrt(counts.reduce((sum, count) => sum + (count - mean) ** 2, 0) / experts) / mean,
      ),
      load_cv_kept: unknown,
      drop_rate: unknown,
      gate_entropy: unknown,
      dead_experts: loads.map((counts) => counts.reduce((dead, count) => dead + (count === 0 ? 1 : 0), 0)),
      max_over_mean: overMean((counts, mean) => Math.max(...counts) / mean),
    }
  }

  /** What the tokens of a kept snapshot chose. @throws RangeError when there is no such snapshot */
  async recorded(run: string, index: number): Promise<TokenTrace> {
    const snapshot = this.snapshots.complete[index]
    if (!snapshot) throw new RangeError(`internal: no snapshot ${index} of ${this.snapshots.complete.length}`)
    const records: TraceRecord[] = []
    for (const { file, start, end } of this.places.get(snapshot) ?? []) {
      const bytes = await readInside(this.root, this.files[file] ?? '', Math.min(end - start, MAX_READ), start)
      for (const line of bytes?.toString().split('\n') ?? []) {
        const fields = parsed(Buffer.from(line))
        const record = fields?.step === snapshot.step ? traceRecord(fields) : undefined
        if (record) records.push(record)
      }
    }
    return recordedTokens(run, snapshot.step, this.snapshots.routers, records)
  }

  private count(snapshot: Snapshot, { layer, module, chosen }: TraceRecord): boolean {
    let most = 0
    for (const experts of chosen) for (const expert of experts) if (expert > most) most = expert
    if (most >= MAX_EXPERTS) {
      this.strange++
      return false
    }
    const row = widened(this.snapshots.row(snapshot, layer, module), most + 1)
    const width = expertsOf(row)
    for (const experts of chosen)
      for (const expert of experts) {
        // Megatron-Core fills short rows up with -1.
        if (expert < 0) continue
        row[expert] = (row[expert] ?? 0) + 1
        row[width + expert] = (row[width + expert] ?? 0) + 1
      }
    this.snapshots.put(snapshot, layer, module, row)
    return true
  }

  private remember(snapshot: Snapshot, file: number, start: number, end: number): void {
    const places = this.places.get(snapshot) ?? []
    this.places.set(snapshot, places)
    const last = places.at(-1)
    if (last?.file === file) last.end = end
    else places.push({ file, start, end })
  }
}

function widened(row: Row | undefined, experts: number): Row {
  if (row && expertsOf(row) >= experts) return row
  const wide = emptyRow(experts)
  if (!row) return wide
  const own = expertsOf(row)
  wide.set(row.subarray(0, own))
  wide.set(row.subarray(own, 2 * own), experts)
  return wide
}
