/** A folder with a router trace, as a run: it has loads and tokens, but neither metrics nor a configuration. */
import { join } from 'node:path'
import type { RoutingHistory, RoutingIndex, RunSummary, Series, TokenTrace } from '../api.ts'
import { type Found, type PolledRun, type PollResult, QUIET, SETTLED, TURN } from '../runs/run.ts'
import { LineTail } from '../runs/tail.ts'
import { RouterTrace } from './trace-file.ts'

export class TraceReader implements PolledRun {
  readonly kind = 'trace'
  readonly id: string
  readonly directory: string
  /** Names of the files, a rank each. */
  readonly files: readonly string[]
  private readonly found: Found
  private readonly trace: RouterTrace
  private readonly tails: readonly LineTail[]
  private lines = 0
  private isReading = true
  private isReplaced = false
  private told = ''

  constructor(found: Found, files: readonly string[]) {
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
    const sum = (of: (tail: LineTail) => number) => this.tails.reduce((total, tail) => total + of(tail), 0)
    return { done: sum(({ position }) => position), of: sum(({ size }) => size) }
  }

  limit(memory: number): void {
    this.trace.snapshots.limit(memory)
  }

  async poll(): Promise<PollResult> {
    let [isChanged, isBehind] = [false, false]
    // Ranks advance side by side, in the order of their steps.
    for (const tail of this.tails) {
      const polled = await tail.poll(TURN / this.tails.length)
      isChanged ||= polled !== 'same'
      isBehind ||= polled === 'behind'
      if (this.isReplaced) return this.startAgain()
    }
    if (!isBehind) this.isReading = false
    const isSettled = !isChanged && Date.now() - this.changed() > SETTLED && this.trace.snapshots.settle()
    const state = this.state()
    const look = `${state} ${this.isReading}`
    isChanged ||= isSettled || look !== this.told
    this.told = look
    return { isChanged, isBehind, isRunning: state === 'running' }
  }

  summary(): RunSummary {
    const problem = this.problem()
    const changed = this.changed()
    return {
      id: this.found.id,
      name: this.found.name,
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

  /** Of a sum over ranks nothing can be taken away: when one file is another, all are read again. */
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

  /** How many steps there will be nobody knows: a trace that is quiet is done. */
  private state(): 'running' | 'finished' {
    return Date.now() - this.changed() < QUIET ? 'running' : 'finished'
  }

  private problem(): string | undefined {
    const tooLong = this.tails.reduce((sum, { skipped }) => sum + skipped, 0)
    return this.trace.problem ?? (tooLong > 0 ? `lines longer than 8 MiB are left out: ${tooLong}` : undefined)
  }
}
