/**
 * Programs over chunks: one small graph, bound once to every chunk of the store and run on each. A
 * chunk fits the cache of a core, so the passes of the graph cost arithmetic and not memory traffic.
 */
import { type Tensor, toOnnx } from '../../graph/index.ts'
import type { Binding, Buffer, Executable, NodeTime, Runtime } from '../../runtime/index.ts'

/** Time that may pass before the event loop is served. */
const SLICE_MS = 8

export class ChunkedProgram {
  private readonly executable: Executable
  private readonly bindings: readonly Binding[]

  private constructor(executable: Executable, bindings: readonly Binding[]) {
    this.executable = executable
    this.bindings = bindings
  }

  static async compile(
    runtime: Runtime,
    outputs: Readonly<Record<string, Tensor>>,
    buffers: Iterable<Readonly<Record<string, Buffer>>>,
  ): Promise<ChunkedProgram> {
    const executable = await runtime.compile(toOnnx({ outputs }))
    return new ChunkedProgram(
      executable,
      Array.from(buffers, (chunk) => executable.bind(chunk)),
    )
  }

  /** Runs every chunk, in slices of a few milliseconds between which the event loop goes on. */
  async run(): Promise<void> {
    let until = performance.now() + SLICE_MS
    for (const binding of this.bindings) {
      binding.runSync()
      if (performance.now() < until) continue
      await new Promise(setImmediate)
      until = performance.now() + SLICE_MS
    }
  }

  profile(): readonly NodeTime[] {
    return this.executable.profile()
  }

  release(): void {
    for (const binding of this.bindings) binding.release()
    this.executable.release()
  }
}
