/** Evaluation: the loss on every held-out token, with the evaluation capacity factor. */
import type { Dataset } from '../data/index.ts'
import { heldOutBatches } from '../data/index.ts'
import { withKernels } from '../graph/index.ts'
import type { ModelConfig } from '../model/config.ts'
import type { Runtime } from '../runtime/index.ts'
import type { EvalRecord } from './metrics.ts'
import { CompiledPass, tracePass } from './pass.ts'
import { type LayerCounts, summarize } from './statistics.ts'
import type { ParameterStore } from './store.ts'

export type Evaluation = Omit<EvalRecord, 'kind' | 'step' | 'tokens'>

export interface EvaluationResult {
  readonly evaluation: Evaluation
  readonly layers: readonly LayerCounts[]
}

export class Evaluator {
  private readonly pass: CompiledPass
  private readonly shape: { readonly batch: number; readonly sequence: number }
  private readonly seed: number

  private constructor(pass: CompiledPass, shape: { batch: number; sequence: number }, seed: number) {
    this.pass = pass
    this.shape = shape
    this.seed = seed
  }

  /**
   * @param batch Sequences at a time: as many as in a training micro-batch, since capacity depends on it.
   * @param separator The token at which attention begins again (`data.crossDocuments`); default: it sees the whole window.
   */
  static async compile(
    runtime: Runtime,
    config: ModelConfig,
    store: ParameterStore,
    batch: number,
    seed: number,
    separator?: number,
  ): Promise<Evaluator> {
    const shape = { batch, sequence: config.sequence }
    const traced = withKernels(runtime.kernels, () =>
      tracePass(config, store, { ...shape, training: false, capacity: 'eval' }, separator),
    )
    return new Evaluator(await CompiledPass.compile(runtime, config, store, traced), shape, seed)
  }

  /**
   * @param limit At most so many batches; 0 = all.
   * @param onBatch Called after each batch with the number done.
   */
  async run(
    { heldOut, tokenizer }: Pick<Dataset, 'heldOut' | 'tokenizer'>,
    limit = 0,
    onBatch: (done: number) => void = () => {},
  ): Promise<EvaluationResult> {
    const { pass } = this
    const layers = pass.emptyCounts()
    let [nats, tokens, bytes, batches] = [0, 0, 0, 0]
    for (const counted of heldOutBatches(heldOut, this.shape, pass)) {
      pass.drawChoices(this.seed, 'eval', batches)
      await pass.run()
      nats += pass.loss * counted
      tokens += counted
      for (let t = 0; t < counted; t++) bytes += tokenizer.bytesOf[pass.targets[t] as number] ?? 0
      pass.addCounts(layers)
      batches++
      onBatch(batches)
      if (batches === limit) break
    }
    const evaluation: Evaluation = {
      loss: nats / tokens,
      bits_per_byte: nats / Math.LN2 / bytes,
      ...summarize(layers),
      evaluated_tokens: tokens,
    }
    return { evaluation, layers }
  }

  release(): void {
    this.pass.release()
  }
}
