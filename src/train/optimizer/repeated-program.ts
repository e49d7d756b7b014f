/** One graph that is run on many tensors of a shape: compiled once, bound once to the memory of each. */
import { type Tensor, toOnnx } from '../../graph/index.ts'
import type { Binding, Buffer, Executable, NodeTime, Runtime } from '../../runtime/index.ts'

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

  /** Runs on every tensor, one after the other, off the JavaScript thread. */
  async run(): Promise<void> {
    for (const binding of this.bindings) await binding.run()
  }

  profile(): readonly NodeTime[] {
    return this.executable.profile()
  }

  release(): void {
    for (const binding of this.bindings) binding.release()
    this.executable.release()
  }
}
