/** A folder with a router trace as a run: it has loads and tokens, but neither metrics nor a configuration. */
import { join } from 'node:path'
import type { RoutingHistory, RoutingIndex, RunSummary, Series, TokenTrace } from '../api.ts'
import { type FoundRun, MAX_POLL_BYTES, type PolledRun, type PollResult, QUIET_MS, SETTLED_MS } from '../runs/run.ts'
import { LineTail } from '../runs/tail.ts'
import { RouterTrace } from './router-trace.ts'

export class TraceReader implements PolledRun {
  readonly kind = 'trace'
  readonly id: string
  readonly directory: string
  /** Names of the files, one per rank. */
  readonly files: readonly string[]
  private readonly found: FoundRun
  private readonly trace: RouterTrace
  private readonly tails: readonly LineTail[]
  private lines = 0
  private isReading = true
  private isReplaced = false
  private lastStatus = ''

  constructor(found: FoundRun, files: readonly string[]) {
    this.found = found
    this.id = found.id
    this.directory = found.directory
    this.files = files
    const paths = files.map((name) => join(found.directory, name))
    this.trace = new RouterTrace(found.root, paths)
    this.tails = paths.map(
      (path, file) =>
        new LineTail(found.root, path, {
          line: (bytes, start) => {
            this.lines++
            this.trace.add(file, bytes, start)
          },
          replaced: () => {
            this.isReplaced = true
          },
        }),
    )
  }

  get progress(): { readonly done: number; readonly of: number } | null {
    if (!this.isReading) return null
    const sum = (bytes: (tail: LineTail) => number) => this.tails.reduce((total, tail) => total + bytes(tail), 0)
    return { done: sum(({ position }) => position), of: sum(({ size }) => size) }
  }

  limit(memory: number): void {
    this.trace.snapshots.limit(memory)
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
    const isSettled = !isChanged && Date.now() - this.changed() > SETTLED_MS && this.trace.snapshots.settle()
    const state = this.state()
    const status = `${state} ${this.isReading}`
    isChanged ||= isSettled || status !== this.lastStatus
    this.lastStatus = status
    return { isChanged, isBehind, isRunning: state === 'running' }
  }

  summary(): RunSummary {
    const problem = this.problem()
    const changed = this.changed()
    return {
      id: this.found.id,
      path: this.found.path,
      name: this.found.path,
      kind: this.kind,
      state: this.state(),
      ...(problem !== undefined && { problem }),
      step: this.trace.step,
      steps: null,
      tokens: 0,
      loss: null,
      heldOutLoss: null,
      bitsPerByte: null,
      tokensPerSecond: null,
      secondsLeft: null,
      created: null,
      changed,
      lines: this.lines,
      reading: this.isReading,
      metrics: [],
      routed: this.routing() !== undefined,
      ranked: false,
      traceable: this.routing() !== undefined,
      checkpoint: null,
      config: {},
    }
  }

  series(): Series | undefined {
    return undefined
  }

  routing(): RoutingIndex | undefined {
    return this.trace.snapshots.index(this.id)
  }

  loads(from: number, to: number): Float32Array {
    return this.trace.snapshots.loads(from, to)
  }

  history(router: number): Float32Array {
    return this.trace.snapshots.history(router)
  }

  routingSummary(router: number): RoutingHistory {
    return this.trace.summary(router)
  }

  recorded(snapshot: number): Promise<TokenTrace> {
    return this.trace.recorded(this.id, snapshot)
  }

  /** Reads all files again, because one was replaced: one rank cannot be subtracted from the sums. */
  private startAgain(): PollResult {
    for (const tail of this.tails) tail.restart()
    this.trace.clear()
    this.lines = 0
    this.isReplaced = false
    return { isChanged: true, isBehind: true, isRunning: true }
  }

  private changed(): number {
    return Math.max(...this.tails.map(({ changed }) => changed))
  }

  /** A trace does not record how many steps there will be, so it counts as finished once its files are quiet. */
  private state(): 'running' | 'finished' {
    return Date.now() - this.changed() < QUIET_MS ? 'running' : 'finished'
  }

  private problem(): string | undefined {
    const tooLong = this.tails.reduce((sum, { skipped }) => sum + skipped, 0)
    return this.trace.problem ?? (tooLong > 0 ? `lines longer than 8 MiB are left out: ${tooLong}` : undefined)
  }
}
