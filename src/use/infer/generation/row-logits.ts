/** Logits for many tokens of a pass, some rows at a time: the logits of all tokens of a prompt would need much memory. */
import { input, withKernels } from '../../../core/graph/tensor.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { logitsOf } from '../../../core/model/transformer.ts'
import type { Binding, Executable, Runtime } from '../../../engine/contract/runtime.ts'
import type { ModelStore } from '../../../train/step/store/model-store.ts'
import { prefillKernels } from './prefill.ts'

/** Number of rows that are multiplied with the head together. */
const ROWS = 32

interface Program {
  readonly executable: Executable
  readonly binding: Binding
}

export class RowLogits {
  private readonly runtime: Runtime
  private readonly config: ModelConfig
  private readonly store: ModelStore
  private readonly x_RD: Float32Array
  private readonly logits_RV: Float32Array
  private program: Program | undefined

  constructor(runtime: Runtime, config: ModelConfig, store: ModelStore) {
    this.runtime = runtime
    this.config = config
    this.store = store
    this.x_RD = new Float32Array(ROWS * config.width)
    this.logits_RV = new Float32Array(ROWS * config.vocabulary)
  }

  /**
   * Calls `use` with the logits [V] of each of the first `count` rows of activations after the final norm [T, D]. The
   * array is overwritten later.
   */
  async each(x_TD: Float32Array, count: number, use: (row: number, logits: Float32Array) => void): Promise<void> {
    if (count === 0) return
    const { width, vocabulary } = this.config
    this.program ??= await this.compile()
    for (let first = 0; first < count; first += ROWS) {
      const rows = Math.min(ROWS, count - first)
      this.x_RD.fill(0)
      this.x_RD.set(x_TD.subarray(first * width, (first + rows) * width))
      await this.program.binding.run()
      for (let row = 0; row < rows; row++)
        use(first + row, this.logits_RV.subarray(row * vocabulary, (row + 1) * vocabulary))
    }
  }

  private async compile(): Promise<Program> {
    const { runtime, config, store } = this
    const parameters = store.trace()
    const logits = withKernels(prefillKernels(runtime, store), () =>
      logitsOf(config, parameters, input('rows', 'float32', [ROWS, config.width])),
    )
    const executable = await runtime.compile({ outputs: { logits } })
    const binding = executable.bind({ ...parameters.ports(), rows: this.x_RD, logits: this.logits_RV })
    return { executable, binding }
  }

  release(): void {
    this.program?.binding.release()
    this.program?.executable.release()
  }
}
