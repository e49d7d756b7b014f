/**
 * A compiled program whose room for the rows of other ranks grows.
 *
 * Without a capacity, all tokens of an expert group may choose the experts of one rank. A program has room for
 * `parallel.headroom` times an even load. If more rows arrive in a layer, the run stops on this rank before these rows
 * travel. The program is compiled once more, with more room in that layer, and the run continues where it stopped. The
 * other ranks of the group wait for this rank and need not know why, because the rows that ranks exchange do not depend
 * on the room. Nothing is computed twice, so results are the same bits.
 */
import type { Program } from '../../../core/graph/program.ts'
import type { Rooms } from '../../../core/model/expert-rows.ts'
import {
  type Binding,
  type Exchanges,
  type Executable,
  type PortMemory,
  type RunOptions,
  type RunReport,
  type Runtime,
  RuntimeError,
  TooManyRows,
} from '../../../engine/contract/runtime.ts'
import { OutOfMemory } from '../../../engine/contract/runtime-error.ts'

/** A layer grows at least by this factor, so that it grows a few times only. */
const GROWTH = 1.5

/** Room for all rows of all ranks in every layer. */
const most: Rooms = { get: () => Number.POSITIVE_INFINITY }

/** Traces the program with room for at least so many rows in layers that have grown. */
export type Trace = (rooms: Rooms) => Program

/** Working memory of a program that has grown, in bytes. */
export interface Growth {
  /** At first. */
  readonly before: number
  readonly now: number
  /** The most that the program can need: all tokens of the group choose the experts of this rank in every layer. */
  readonly most: number
}

/** How the memory that programs share has grown; null if none of them has grown. */
export function growthOf(
  programs: readonly { readonly memoryBytes: number | undefined; readonly growth: Growth | null }[],
): Growth | null {
  if (programs.every(({ growth }) => growth === null)) return null
  // Programs run in turn, so the largest counts.
  const largest = (kind: keyof Growth) =>
    Math.max(...programs.map(({ memoryBytes = 0, growth }) => growth?.[kind] ?? memoryBytes))
  return { before: largest('before'), now: largest('now'), most: largest('most') }
}

interface Compiled {
  readonly executable: Executable
  readonly binding: Binding
}

export class GrowingProgram {
  /** Null until the program has grown. */
  growth: Growth | null = null
  private readonly runtime: Runtime
  private readonly trace: Trace
  private readonly bind: (executable: Executable) => Binding
  private readonly rooms = new Map<string, number>()
  private compiled: Compiled

  /** @param executable The program without growth. */
  constructor(
    runtime: Runtime,
    executable: Executable,
    trace: Trace,
    buffers: Readonly<Record<string, PortMemory>>,
    exchanges: Exchanges,
  ) {
    this.runtime = runtime
    this.trace = trace
    this.bind = (of) => of.bind(buffers, undefined, exchanges)
    this.compiled = { executable, binding: this.bind(executable) }
  }

  /** The program as it is compiled now; profiles of it begin when it last grew. */
  get executable(): Executable {
    return this.compiled.executable
  }

  get waits(): boolean {
    return this.compiled.binding.waits
  }

  /** As `Binding.run`. @throws RuntimeError also if there is no memory to grow */
  run(): Promise<RunReport> {
    return this.toEnd(() => this.compiled.binding.run())
  }

  /** As `Binding.enqueue`. @throws RuntimeError also if there is no memory to grow */
  enqueue(options?: RunOptions): Promise<RunReport> {
    return this.toEnd(() => this.compiled.binding.enqueue(options), options)
  }

  private async toEnd(begin: () => Promise<RunReport>, options?: RunOptions): Promise<RunReport> {
    // Programs run in turn in one memory. If another program has grown, the memory from before would be kept beside it.
    if (this.compiled.binding.isOutgrown) this.bindAgain()
    for (let run = begin; ; ) {
      try {
        return await run()
      } catch (error) {
        if (!(error instanceof TooManyRows)) throw error
        const stopped = this.compiled
        this.compiled = await this.withMoreRoom(error)
        run = () => this.continueRun(stopped, options)
      }
    }
  }

  private bindAgain(): void {
    const { executable, binding } = this.compiled
    this.compiled = { executable, binding: this.bind(executable) }
    binding.release()
  }

  private continueRun(stopped: Compiled, options: RunOptions | undefined): Promise<RunReport> {
    const running = this.compiled.binding.continueRun?.(stopped.binding, options)
    if (!running) throw new RuntimeError('internal: a program that exchanges rows cannot continue a run')
    releaseAll(stopped)
    return running
  }

  private async withMoreRoom(cause: TooManyRows): Promise<Compiled> {
    const { runtime, rooms, trace, growth } = this
    rooms.set(cause.layer, Math.max(cause.rows, Math.ceil(GROWTH * cause.room)))
    const bytes = this.executable.memoryBytes ?? 0
    try {
      const executable = await runtime.compile(trace(rooms))
      try {
        const now = executable.memoryBytes ?? 0
        const grown = growth ? { ...growth, now } : { before: bytes, now, most: runtime.bytesOf?.(trace(most)) ?? now }
        const binding = this.bind(executable)
        this.growth = grown
        return { executable, binding }
      } catch (error) {
        executable.release()
        throw error
      }
    } catch (error) {
      if (!(error instanceof OutOfMemory)) throw error
      throw new OutOfMemory(`${cause.message}; more room is not available: ${error.message}`, error.isComputed)
    }
  }

  release(): void {
    releaseAll(this.compiled)
  }
}

function releaseAll({ executable, binding }: Compiled): void {
  binding.release()
  executable.release()
}
