/**
 * A router trace of Megatron-Core (trace-record.ts): loads and tokens by step. A trace records choices but not drops,
 * so loads after drops equal the loads before. The files of a folder form one trace, whose ranks are summed by step.
 * For each kept step the position of its lines is stored, and its tokens are read again on request.
 */
import type { RoutingHistory, TokenTrace } from '../api.ts'
import { readInside } from '../runs/confined.ts'
import { leadingStep, parseObject } from '../runs/routing-log.ts'
import { emptyRow, expertsOf, MAX_EXPERTS, type Row, type Snapshot, Snapshots } from '../runs/snapshots.ts'
import { type TraceRecord, traceRecord } from './trace-record.ts'
import { recordedTokens } from './trace-tokens.ts'

/** Limit of the bytes read for a step from one file, more than the shown tokens take. */
const MAX_STEP_BYTES = 64 << 20

/** Byte range of a step's lines in a file. */
interface ByteRange {
  readonly file: number
  readonly start: number
  end: number
}

export class RouterTrace {
  readonly snapshots = new Snapshots()
  private readonly root: string
  private readonly files: readonly string[]
  private readonly ranges = new WeakMap<Snapshot, ByteRange[]>()
  /** Last step of each file. */
  private readonly lastSteps: number[] = []
  private invalid = 0
  private outOfOrder = 0

  /** @param files Paths, one file per rank. */
  constructor(root: string, files: readonly string[]) {
    this.root = root
    this.files = files
  }

  /** A message about invalid lines, if there are any. */
  get problem(): string | undefined {
    if (this.outOfOrder > 0)
      return `lines that go back to an earlier step are left out: ${this.outOfOrder} (expected the lines of one run)`
    return this.invalid > 0 ? `lines that are not records of a router are left out: ${this.invalid}` : undefined
  }

  get step(): number {
    return Math.max(0, this.snapshots.lastStep)
  }

  add(file: number, line: Buffer, start: number): void {
    const step = leadingStep(line) ?? parseObject(line)?.step
    if (typeof step !== 'number' || !Number.isFinite(step)) {
      if (line.length > 0) this.invalid++
      return
    }
    if (step < (this.lastSteps[file] ?? Number.NEGATIVE_INFINITY)) {
      this.outOfOrder++
      return
    }
    this.lastSteps[file] = step
    const snapshot = this.snapshots.enter(step)
    if (!snapshot) return
    const record = traceRecord(parseObject(line))
    if (!record) this.invalid++
    else if (this.count(snapshot, record)) this.remember(snapshot, file, start, start + line.length)
  }

  /** Forgets everything. All files must be read again, because one rank cannot be subtracted from the sums. */
  clear(): void {
    this.snapshots.clear()
    this.lastSteps.length = 0
    this.invalid = this.outOfOrder = 0
  }

  /** Measures of a router that follow from loads before drops; the others are null. */
  summary(router: number): RoutingHistory {
    const { experts: width } = this.snapshots
    const experts = this.snapshots.routers[router]?.experts ?? 0
    const history = this.snapshots.history(router)
    const loads = this.snapshots.complete.map((_, index) =>
      history.subarray(index * 2 * width, index * 2 * width + experts),
    )
    const unknown = loads.map(() => null)
    const means = loads.map((counts) => counts.reduce((sum, count) => sum + count, 0) / experts)
    const overMean = (measure: (counts: Float32Array, mean: number) => number) =>
      loads.map((counts, index) => (means[index] ? measure(counts, means[index]) : 0))
    return {
      load_cv: overMean(
        (counts, mean) => Math.sqrt(counts.reduce((sum, count) => sum + (count - mean) ** 2, 0) / experts) / mean,
      ),
      load_cv_kept: unknown,
      drop_rate: unknown,
      gate_mean: unknown,
      gate_entropy: unknown,
      dead_experts: loads.map((counts) => counts.reduce((dead, count) => dead + (count === 0 ? 1 : 0), 0)),
      max_over_mean: overMean((counts, mean) => Math.max(...counts) / mean),
    }
  }

  /** The experts that the tokens of a kept snapshot chose. @throws RangeError if there is no such snapshot */
  async recorded(run: string, index: number): Promise<TokenTrace> {
    const snapshot = this.snapshots.complete[index]
    if (!snapshot) throw new RangeError(`internal: no snapshot ${index} of ${this.snapshots.complete.length}`)
    const records: TraceRecord[] = []
    for (const { file, start, end } of this.ranges.get(snapshot) ?? []) {
      const bytes = await readInside(this.root, this.files[file] ?? '', Math.min(end - start, MAX_STEP_BYTES), start)
      for (const line of bytes?.toString().split('\n') ?? []) {
        const fields = parseObject(Buffer.from(line))
        const record = fields?.step === snapshot.step ? traceRecord(fields) : undefined
        if (record) records.push(record)
      }
    }
    return recordedTokens(run, snapshot.step, this.snapshots.routers, records)
  }

  private count(snapshot: Snapshot, { layer, module, chosen }: TraceRecord): boolean {
    let largest = 0
    for (const experts of chosen) for (const expert of experts) if (expert > largest) largest = expert
    if (largest >= MAX_EXPERTS) {
      this.invalid++
      return false
    }
    const row = widened(this.snapshots.row(snapshot, layer, module), largest + 1)
    const width = expertsOf(row)
    for (const experts of chosen)
      for (const expert of experts) {
        // Megatron-Core pads short rows with -1.
        if (expert < 0) continue
        row[expert] = (row[expert] ?? 0) + 1
        row[width + expert] = (row[width + expert] ?? 0) + 1
      }
    this.snapshots.put(snapshot, layer, module, row)
    return true
  }

  private remember(snapshot: Snapshot, file: number, start: number, end: number): void {
    const ranges = this.ranges.get(snapshot) ?? []
    this.ranges.set(snapshot, ranges)
    const last = ranges.at(-1)
    if (last?.file === file) last.end = end
    else ranges.push({ file, start, end })
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
