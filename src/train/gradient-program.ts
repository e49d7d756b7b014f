/**
 * The gradient program: tokens → loss, statistics, and the gradient of every parameter, written in
 * place into the store.
 *
 * With micro-batches there are two programs: the first writes gradients, the other adds to what is
 * there. The addition's result lands on its own operand, which is safe because nothing reads the
 * operand after it.
 */
import { add, gradient, input, multiply, type Tensor } from '../graph/index.ts'
import type { ModelConfig } from '../model/config.ts'
import type { Buffer, NodeTime, Runtime } from '../runtime/index.ts'
import { CompiledPass, nameOf, tracePass } from './pass.ts'
import type { LayerCounts } from './statistics.ts'
import type { ParameterStore } from './store.ts'

export interface GradientShape {
  /** Sequences in a step. */
  readonly batch: number
  readonly microBatches: number
  readonly sequence: number
}

export interface GradientResult {
  /** Mean over the micro-batches, nats a token. */
  readonly loss: number
  readonly layers: readonly LayerCounts[]
}

export class GradientProgram {
  private readonly write: CompiledPass
  private readonly accumulate: CompiledPass | null
  private readonly shape: GradientShape
  private readonly seed: number

  private constructor(write: CompiledPass, accumulate: CompiledPass | null, shape: GradientShape, seed: number) {
    this.write = write
    this.accumulate = accumulate
    this.shape = shape
    this.seed = seed
  }

  static async compile(
    runtime: Runtime,
    config: ModelConfig,
    store: ParameterStore,
    shape: GradientShape,
    seed: number,
  ): Promise<GradientProgram> {
    const write = await compilePass(runtime, config, store, shape, false)
    const accumulate = shape.microBatches > 1 ? await compilePass(runtime, config, store, shape, true) : null
    return new GradientProgram(write, accumulate, shape, seed)
  }

  /** The gradient of one step. tokens and targets are [batch · sequence]. */
  async run(step: number, tokens: Int32Array, targets: Int32Array): Promise<GradientResult> {
    const { microBatches } = this.shape
    const size = tokens.length / microBatches
    const layers = this.write.emptyCounts()
    let loss = 0
    for (let part = 0; part < microBatches; part++) {
      const pass = part === 0 ? this.write : (this.accumulate as CompiledPass)
      pass.tokens.set(tokens.subarray(part * size, (part + 1) * size))
      pass.targets.set(targets.subarray(part * size, (part + 1) * size))
      pass.drawChoices(this.seed, 'train', step, part)
      await pass.run()
      loss += pass.loss / microBatches
      pass.addCounts(layers)
    }
    return { loss, layers }
  }

  profile(): NodeTime[] {
    return [...this.write.profile(), ...(this.accumulate?.profile() ?? [])]
  }

  release(): void {
    this.write.release()
    this.accumulate?.release()
  }
}

async function compilePass(
  runtime: Runtime,
  config: ModelConfig,
  store: ParameterStore,
  { batch, microBatches, sequence }: GradientShape,
  accumulate: boolean,
): Promise<CompiledPass> {
  const traced = tracePass(config, store, { batch: batch / microBatches, sequence, training: true })
  const { used } = traced.parameters
  const objective = multiply(traced.losses.objective, 1 / microBatches)
  const gradients = gradient(
    objective,
    used.map(({ tensor }) => tensor),
  )
  const outputs: Record<string, Tensor> = {}
  const memory: Record<string, Buffer> = {}
  used.forEach(({ spec, expert, tensor }, i) => {
    const name = `gradient ${nameOf(tensor)}`
    const before = `before ${nameOf(tensor)}`
    const computed = gradients[i] as Tensor
    memory[name] = store.gradient(spec.name, expert)
    memory[before] = memory[name]
    outputs[name] = accumulate ? add(input(before, 'float32', tensor.shape), computed) : computed
  })
  return CompiledPass.compile(runtime, config, store, traced, outputs, memory)
}
