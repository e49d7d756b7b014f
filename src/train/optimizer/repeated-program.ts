/** One graph that is run on many tensors of a shape: compiled once, bound once to the memory of each. */
import { type Tensor, toOnnx } from '../../graph/index.ts'
import type { Binding, Buffer, Executable, NodeTime, Runtime } from '../../runtime/index.ts'

/** Time that may pass before the event loop is served. */
const SLICE_MS = 8

export class RepeatedProgram {
  private readonly executable: Executable
  private readonly bindings: readonly Binding[]

  private constructor(executable: Executable, bindings: readonly Binding[]) {
    this.executable = executable
    this.bindings = bindings
  }

  static async compile(
    runtime: Runtime,
    outputs: Readonly<Record<string, Tensor>>,
    tensors: Iterable<Readonly<Record<string, Buffer>>>,
  ): Promise<RepeatedProgram> {
    const executable = await runtime.compile(toOnnx({ outputs }))
    return new RepeatedProgram(
      executable,
      Array.from(tensors, (buffers) => executable.bind(buffers)),
    )
  }

  /** Runs on every tensor, in slices of a few milliseconds between which the event loop goes on. */
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
