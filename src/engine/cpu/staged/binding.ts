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
  readonly explain: (failure: Failure) => RuntimeError
  readonly onFreed: () => void
}

export class StagedBinding implements Binding {
  private readonly parts: BindingParts
  private readonly program: number
  private readonly lifetime = new Lifetime('binding', () => this.free())

  constructor(parts: BindingParts) {
    this.parts = parts
    this.program = parts.crew.open(parts.script)
  }

  get waits(): boolean {
    return this.parts.waits
  }

  enqueue(options?: RunOptions): Promise<RunReport> {
    return this.run(options)
  }

  async run({ early = false, arriving = [] }: RunOptions = {}): Promise<RunReport> {
    const { crew, clock, explain, script } = this.parts
    this.lifetime.expectIdle()
    this.lifetime.begin()
    try {
      const tickets = new Float64Array(script.tickets).fill(NOT_POSTED)
      const arrivals = new Float64Array(script.arrivals).fill(NOT_POSTED)
      arrivals.set([0, ...arriving])
      const failure = await crew.run(this.program, early)
      if (failure) throw explain(failure)
      clock?.add()
      return { tickets: [...tickets], waitedMs: arrivals[0] as number }
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
    this.parts.crew.close(this.program)
    for (const binding of this.parts.sessions) binding.release()
    this.parts.onFreed()
  }
}
