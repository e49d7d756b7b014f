/**
 * A folder with a router trace of Megatron-Core (trace-record.ts) as a run: it has loads and tokens by step, but neither
 * metrics nor a configuration. A trace records choices but not drops, so loads after drops equal the loads before. The
 * files of a folder form one trace, whose ranks are summed by step. For each kept step the position of its lines is
 * stored, and its tokens are read again on request.
 */
import { join } from 'node:path'
import type { RoutingHistory, RunSummary, Series, TokenTrace } from '../api.ts'
import { readInside } from './confined.ts'
import { leadingStep, parseObject } from './routing-log.ts'
import {
  FollowedRun,
  type FoundRun,
  MAX_POLL_BYTES,
  type PolledRun,
  type PollResult,
  QUIET_MS,
  SETTLED_MS,
} from './run.ts'
import { emptyRow, expertsOf, MAX_EXPERTS, measures, type Row, type Snapshot, Snapshots } from './snapshots.ts'
import { LineTail } from './tail.ts'
import { recordedTokens, type TraceRecord, traceRecord } from './trace-record.ts'

/** Limit of the bytes read for a step from one file, more than the shown tokens take. */
const MAX_STEP_BYTES = 64 << 20

/** Byte range of a step's lines in a file. */
interface ByteRange {
  readonly file: number
  readonly start: number
  end: number
}

export class TraceReader extends FollowedRun implements PolledRun {
  readonly kind = 'trace'
  /** Names of the files, one per rank. */
  readonly files: readonly string[]
  protected readonly tails: readonly LineTail[]
  protected readonly snapshots = new Snapshots()
  private readonly ranges = new WeakMap<Snapshot, ByteRange[]>()
  /** Last step of each file. */
  private readonly lastSteps: number[] = []
  private lines = 0
  private invalid = 0
  private outOfOrder = 0
  private isReplaced = false

  constructor(found: FoundRun, files: readonly string[]) {
    super(found)
    this.files = files
    this.tails = files.map(
      (name, file) =>
        new LineTail(found.root, join(found.directory, name), {
          line: (bytes, start) => this.add(file, bytes, start),
          replaced: () => {
            this.isReplaced = true
          },
        }),
    )
  }

  limit(memory: number): void {
    this.snapshots.limit(memory)
  }

  async poll(signal?: AbortSignal): Promise<PollResult> {
    let [isChanged, isBehind] = [false, false]
    // All ranks advance together, so that their steps arrive in order.
    for (const tail of this.tails) {
      const polled = await tail.poll(MAX_POLL_BYTES / this.tails.length, signal)
      isChanged ||= polled !== 'same'
      isBehind ||= polled === 'behind'
      if (this.isReplaced) return this.startAgain()
    }
    if (!isBehind) this.isReading = false
    const isSettled = !isChanged && Date.now() - this.changed() > SETTLED_MS && this.snapshots.settle()
    const state = this.state()
    const isNew = this.hasNewStatus(`${state} ${this.isReading}`)
    return { isChanged: isChanged || isSettled || isNew, isBehind, isRunning: state === 'running' }
  }

  summary(): RunSummary {
    const problem = this.problem()
    const isRouted = this.routing() !== undefined
    return {
      id: this.id,
      path: this.found.path,
      name: this.found.path,
      kind: this.kind,
      state: this.state(),
      ...(problem !== undefined && { problem }),
      step: Math.max(0, this.snapshots.lastStep),
      steps: null,
      tokens: 0,
      loss: null,
      heldOutLoss: null,
      bitsPerByte: null,
      tokensPerSecond: null,
      secondsLeft: null,
      created: null,
      changed: this.changed(),
      lines: this.lines,
      reading: this.isReading,
      metrics: [],
      routed: isRouted,
      ranked: false,
      traceable: isRouted,
      checkpoint: null,
      config: {},
    }
  }

  series(): Series | undefined {
    return undefined
  }

  /** Measures of a router that follow from loads before drops; the others are null. */
  routingSummary(router: number): RoutingHistory {
    const { experts: width, routers, complete } = this.snapshots
    const experts = routers[router]?.experts ?? 0
    const history = this.history(router)
    const loads = complete.map((_, index) => history.subarray(index * 2 * width, index * 2 * width + experts))
    const overMean = (measure: (counts: Float32Array, mean: number) => number) =>
      loads.map((counts) => {
        const mean = counts.reduce((sum, count) => sum + count, 0) / experts
        return mean ? measure(counts, mean) : 0
      })
    const unknown = Object.fromEntries(measures.map((name) => [name, loads.map(() => null)])) as unknown
    return {
      ...(unknown as RoutingHistory),
      load_cv: overMean(
        (counts, mean) => Math.sqrt(counts.reduce((sum, count) => sum + (count - mean) ** 2, 0) / experts) / mean,
      ),
      dead_experts: loads.map((counts) => counts.filter((count) => count === 0).length),
      max_over_mean: overMean((counts, mean) => Math.max(...counts) / mean),
    }
  }

  /** The experts that the tokens of a kept snapshot chose. @throws RangeError if there is no such snapshot */
  async recorded(index: number): Promise<TokenTrace> {
    const { complete, routers } = this.snapshots
    const snapshot = complete[index]
    if (!snapshot) throw new RangeError(`internal: no snapshot ${index} of ${complete.length}`)
    const records: TraceRecord[] = []
    for (const { file, start, end } of this.ranges.get(snapshot) ?? []) {
      const path = join(this.directory, this.files[file] ?? '')
      const bytes = await readInside(this.found.root, path, Math.min(end - start, MAX_STEP_BYTES), start)
      for (const line of bytes?.toString().split('\n') ?? []) {
        const fields = parseObject(Buffer.from(line))
        const record = fields?.step === snapshot.step ? traceRecord(fields) : undefined
        if (record) records.push(record)
      }
    }
    return recordedTokens(this.id, snapshot.step, routers, records)
  }

  private add(file: number, line: Buffer, start: number): void {
    this.lines++
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
    if (record && this.count(snapshot, record)) this.remember(snapshot, file, start, start + line.length)
    else this.invalid++
  }

  private count(snapshot: Snapshot, { layer, module, chosen }: TraceRecord): boolean {
    let largest = 0
    for (const experts of chosen) for (const expert of experts) if (expert > largest) largest = expert
    if (largest >= MAX_EXPERTS) return false
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

  /** Reads all files again, because one was replaced: one rank cannot be subtracted from the sums. */
  private startAgain(): PollResult {
    for (const tail of this.tails) tail.restart()
    this.snapshots.clear()
    this.lastSteps.length = 0
    this.lines = this.invalid = this.outOfOrder = 0
    this.isReplaced = false
    return { isChanged: true, isBehind: true, isRunning: true }
  }

  /** A trace does not record how many steps there will be, so it counts as finished once its files are quiet. */
  private state(): 'running' | 'finished' {
    return Date.now() - this.changed() < QUIET_MS ? 'running' : 'finished'
  }

  /** A message about lines that are left out, if there are any. */
  private problem(): string | undefined {
    if (this.outOfOrder > 0)
      return `lines that go back to an earlier step are left out: ${this.outOfOrder} (expected the lines of one run)`
    return this.invalid > 0 ? `lines that are not records of a router are left out: ${this.invalid}` : this.tooLong()
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
