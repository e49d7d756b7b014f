/** A binding of a staged program: its script, with the memory of its ports, runs on the crew. */

import { Lifetime } from '../../contract/lifetime.ts'
import {
  type Binding,
  type Buffer,
  type Exchanges,
  NOT_POSTED,
  type RunOptions,
  type RunReport,
  RuntimeError,
} from '../../contract/runtime.ts'
import type { Crew } from './crew.ts'
import type { StepTimes } from './profile.ts'
import type { Failure, Script } from './script.ts'

export interface OnnxBinding {
  /** Arguments of `OrtApi.Run`, which a thread of the crew calls: addresses and counts. */
  readonly arguments: readonly (bigint | number | null)[]
  release(): void
}

export interface BindingParts {
  readonly crew: Crew
  readonly clock: StepTimes | null
  readonly script: Script
  readonly sessions: readonly OnnxBinding[]
  /** A record of our own, not the caller's, so that no array is collected while the script has its address. */
  readonly buffers: Readonly<Record<string, Buffer>>
  /** The exchanges, which are kept so that their arrays are not collected either. */
  readonly exchanges: Exchanges
  readonly waits: boolean
  readonly isOutgrown: () => boolean
  /** The memory of each value that is computed before a step and read from it on, in the order of values. */
  readonly valuesBetween: (step: number) => readonly Uint8Array[]
  readonly explain: (failure: Failure) => RuntimeError
  readonly onFreed: () => void
}

export class StagedBinding implements Binding {
  private readonly parts: BindingParts
  private readonly program: number
  private readonly lifetime = new Lifetime('binding', () => this.free())
  /** The step at which the last run has stopped, if it can continue with more room for rows. */
  private stoppedAt: number | null = null

  constructor(parts: BindingParts) {
    this.parts = parts
    this.program = parts.crew.open(parts.script)
  }

  get waits(): boolean {
    return this.parts.waits
  }

  get isOutgrown(): boolean {
    return this.parts.isOutgrown()
  }

  enqueue(options?: RunOptions): Promise<RunReport> {
    return this.run(options)
  }

  async run(options: RunOptions = {}): Promise<RunReport> {
    this.lifetime.expectIdle()
    const { tickets, arrivals } = this.parts.script
    new Float64Array(tickets).fill(NOT_POSTED)
    new Float64Array(arrivals, 0, 1).fill(0)
    return this.runFrom(0, options)
  }

  continueRun(stopped: Binding, options: RunOptions = {}): Promise<RunReport> {
    if (!(stopped instanceof StagedBinding) || stopped.stoppedAt === null)
      throw new RuntimeError('internal: a run is continued that has not stopped for want of room')
    const [before, step] = [stopped.parts, stopped.stoppedAt]
    copyAll(before.valuesBetween(step), this.parts.valuesBetween(step))
    // Tickets, waiting and times of the steps that are done belong to this run.
    for (const part of ['tickets', 'arrivals', 'times'] as const)
      copyAll([new Uint8Array(before.script[part])], [new Uint8Array(this.parts.script[part])])
    return this.runFrom(step, options)
  }

  private async runFrom(step: number, { early = false, arriving = [] }: RunOptions): Promise<RunReport> {
    const { crew, clock, explain, script } = this.parts
    this.lifetime.expectIdle()
    this.lifetime.begin()
    try {
      const arrivals = new Float64Array(script.arrivals)
      arrivals.fill(NOT_POSTED, 1)
      arrivals.set(arriving, 1)
      const failure = await crew.run(this.program, early, step)
      this.stoppedAt = failure?.kind === 'rows' ? failure.step : null
      if (failure) throw explain(failure)
      clock?.add()
      return { tickets: [...new Float64Array(script.tickets)], waitedMs: arrivals[0] as number }
    } finally {
      this.lifetime.end()
    }
  }

  runSync(): void {
    throw new RuntimeError('internal: a program with kernels has no synchronous run')
  }

  release(): void {
    this.lifetime.release()
  }

  private free(): void {
    this.parts.crew.close(this.program, this.isOutgrown)
    for (const binding of this.parts.sessions) binding.release()
    this.parts.onFreed()
  }
}

/** Copies arrays that may overlap in one memory. @throws RuntimeError if they are not of the same sizes */
function copyAll(from: readonly Uint8Array[], to: readonly Uint8Array[]): void {
  if (from.length !== to.length || from.some(({ length }, i) => length !== to[i]?.length))
    throw new RuntimeError('internal: a run is continued by another program')
  const shared = new Set(to.map(({ buffer }) => buffer))
  const sources = from.map((array) => (shared.has(array.buffer) ? array.slice() : array))
  for (const [i, source] of sources.entries()) to[i]?.set(source)
}
