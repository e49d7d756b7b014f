/**
 * Evaluation: the loss on every held-out token under each capacity rule, on the same text and with the same
 * draws of a random router.
 *
 * Think of one batch that up to three programs read in turn. Rules that must give the same result (a dense
 * model, equal factors, room for every token) share one program, which runs once for all of them.
 */
import type { Batch } from '../data/batches.ts'
import { heldOutBatches } from '../data/batches.ts'
import type { TokenStream } from '../data/streams/token-stream.ts'
import { withKernels } from '../graph/tensor.ts'
import type { ModelConfig } from '../model/config.ts'
import { type CapacityRule, capacityRules } from '../model/routing/contract.ts'
import type { Runtime } from '../runtime/contract.ts'
import { configForCapacity } from './capacity-rules.ts'
import { CompiledPass, type TracedPass, tracePass } from './pass.ts'
import type { CapacityEvaluation, EvalRecord } from './records.ts'
import { type LayerCounts, summarize } from './statistics.ts'
import type { ParameterStore } from './store.ts'

export type Evaluation = Omit<EvalRecord, 'kind' | 'step' | 'tokens'>

export interface EvaluationResult {
  readonly evaluation: Evaluation
  /** Routing counts under the requested rule. */
  readonly layers: readonly LayerCounts[]
}

/** Text to evaluate on; a `Dataset` has this shape. */
export interface EvaluationText {
  readonly heldOut: TokenStream
  /** [vocabulary] Number of UTF-8 bytes of each token. */
  readonly tokenizer: { readonly bytesOf: Int32Array }
}

export class Evaluator {
  private readonly passes: Readonly<Record<CapacityRule, CompiledPass>>
  private readonly batch: Batch
  private readonly shape: { readonly batch: number; readonly sequence: number }
  private readonly seed: number

  private constructor(
    passes: Readonly<Record<CapacityRule, CompiledPass>>,
    batch: Batch,
    shape: { batch: number; sequence: number },
    seed: number,
  ) {
    this.passes = passes
    this.batch = batch
    this.shape = shape
    this.seed = seed
  }

  /**
   * @param batch Sequences per pass; must equal the training micro-batch, since capacity depends on it.
   * @param separator Token at which attention restarts (`data.crossDocuments`); default: a token sees its whole window.
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
    const size = batch * config.sequence
    const filled: Batch = { tokens: new Int32Array(size), targets: new Int32Array(size) }
    const compiled = new Map<string, CompiledPass>()
    const passUnder = async (rule: CapacityRule): Promise<CompiledPass> => {
      const used = configForCapacity(config, rule)
      const traced = withKernels(runtime.kernels, () =>
        tracePass(used, store, { ...shape, training: false, capacity: rule }, separator),
      )
      const key = computationOf(used, traced)
      const pass = compiled.get(key) ?? (await CompiledPass.compile(runtime, used, store, traced, {}, { ...filled }))
      compiled.set(key, pass)
      return pass
    }
    try {
      // Compile `none` first: it has no queues and is shared with the others where they have room for every token.
      const none = await passUnder('none')
      const passes = { none, train: await passUnder('train'), eval: await passUnder('eval') }
      return new Evaluator(passes, filled, shape, seed)
    } catch (error) {
      for (const pass of compiled.values()) pass.release()
      throw error
    }
  }

  /**
   * Evaluates once under every rule.
   * @param capacity The rule of the loss and of all other fields outside `capacities`.
   * @param limit Maximum number of batches; 0 = all.
   */
  async run({ heldOut, tokenizer }: EvaluationText, capacity: CapacityRule, limit = 0): Promise<EvaluationResult> {
    const { batch, passes, shape, seed } = this
    const sums = new Map<CompiledPass, Sum>()
    const sumOf = byRule((rule) => {
      const sum = sums.get(passes[rule]) ?? { nats: 0, layers: passes[rule].emptyCounts() }
      sums.set(passes[rule], sum)
      return sum
    })
    let [tokens, bytes, batches] = [0, 0, 0]
    for (const counted of heldOutBatches(heldOut, shape, batch)) {
      for (const [pass, sum] of sums) {
        pass.drawChoices(seed, 'eval', batches)
        await pass.run()
        sum.nats += pass.loss * counted
        pass.addCounts(sum.layers)
      }
      tokens += counted
      for (let t = 0; t < counted; t++) bytes += tokenizer.bytesOf[batch.targets[t] as number] ?? 0
      if (++batches === limit) break
    }
    const under = (rule: CapacityRule) => {
      const { nats, layers } = sumOf[rule]
      return { loss: nats / tokens, bits_per_byte: nats / Math.LN2 / bytes, ...summarize(layers) }
    }
    const evaluation: Evaluation = {
      ...under(capacity),
      evaluated_tokens: tokens,
      capacity,
      capacities: byRule((rule): CapacityEvaluation => {
        const { loss, bits_per_byte, drop_rate, unserved_rate } = under(rule)
        return { loss, bits_per_byte, drop_rate, unserved_rate }
      }),
    }
    return { evaluation, layers: sumOf[capacity].layers }
  }

  release(): void {
    for (const pass of new Set(Object.values(this.passes))) pass.release()
  }
}

/** Totals over the batches so far. */
interface Sum {
  nats: number
  readonly layers: readonly LayerCounts[]
}

const byRule = <T>(of: (rule: CapacityRule) => T): Record<CapacityRule, T> => {
  const [train, evaluation, none] = capacityRules
  return { train: of(train), eval: of(evaluation), none: of(none) }
}

/** Equal for two rules that compute the same: same router, same capacity in every layer. */
const computationOf = ({ moe }: ModelConfig, { losses }: TracedPass): string =>
  [moe?.router, ...losses.reports.map(({ capacity }) => capacity)].join(' ')
