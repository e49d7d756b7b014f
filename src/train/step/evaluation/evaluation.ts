/**
 * Evaluation: the loss on every held-out token under each capacity rule, on the same text and with the same
 * draws of a random router.
 *
 * Think of one batch that up to three programs read in turn. Rules that must give the same result (a dense
 * model, equal factors, room for every token) share one program, which runs once for all of them.
 */

import { withKernels } from '../../../core/graph/tensor.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import type { CapacityRule } from '../../../core/model/routing/contract.ts'
import { type LayerCounts, summarize } from '../../../core/model/routing/statistics.ts'
import { nextTurn } from '../../../core/next-turn.ts'
import type { Ranks } from '../../../engine/contract/ranks.ts'
import type { Runtime } from '../../../engine/contract/runtime.ts'
import type { Batch } from '../../data/batches.ts'
import { heldOutBatches } from '../../data/batches.ts'
import type { DocumentGroups } from '../../data/document-groups.ts'
import type { TokenStream } from '../../data/streams/token-stream.ts'
import { addStatistics } from '../metrics/pass-statistics.ts'
import type { CapacityEvaluation, EvalRecord } from '../metrics/records.ts'
import { CompiledPass, type Retrace, type TracedPass, tokenLossesName, tracePass } from '../passes/pass.ts'
import type { ModelStore } from '../store/model-store.ts'
import { byRule, configForCapacity } from './capacity-rules.ts'
import { DocumentSums } from './document-sums.ts'

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
  private readonly ranks: Ranks | null

  private constructor(
    passes: Readonly<Record<CapacityRule, CompiledPass>>,
    batch: Batch,
    shape: { batch: number; sequence: number },
    seed: number,
    ranks: Ranks | null,
  ) {
    this.passes = passes
    this.batch = batch
    this.shape = shape
    this.seed = seed
    this.ranks = ranks
  }

  /**
   * @param batch Number of sequences per pass, which must equal the training micro-batch, since capacity depends on it.
   * @param separator Token at which attention restarts (`data.crossDocuments`); default: a token sees its whole window.
   * @param ranks The ranks that share the batches; default: this process computes all of them.
   */
  static async compile(
    runtime: Runtime,
    config: ModelConfig,
    store: ModelStore,
    batch: number,
    seed: number,
    separator?: number,
    ranks: Ranks | null = null,
  ): Promise<Evaluator> {
    const shape = { batch, sequence: config.sequence }
    const size = batch * config.sequence
    const filled: Pick<Batch, 'tokens' | 'targets'> = { tokens: new Int32Array(size), targets: new Int32Array(size) }
    const compiled = new Map<string, CompiledPass>()
    const passUnder = async (rule: CapacityRule): Promise<CompiledPass> => {
      const used = configForCapacity(config, rule)
      const trace: Retrace = (rooms) => {
        const pass = { ...shape, training: false, capacity: rule }
        const traced = withKernels(runtime.kernels, () => tracePass(used, store, pass, separator, rooms))
        return { traced, extra: { [tokenLossesName]: traced.losses.loss_T } }
      }
      const { traced, extra } = trace(new Map())
      const key = computationOf(used, traced)
      const memory = { ...filled }
      const pass = compiled.get(key) ?? (await CompiledPass.compile(runtime, used, traced, extra, memory, {}, trace))
      compiled.set(key, pass)
      return pass
    }
    try {
      // Compile `none` first: it has no queues, and other rules with room for every token share it.
      const none = await passUnder('none')
      const passes = { none, train: await passUnder('train'), eval: await passUnder('eval') }
      return new Evaluator(passes, filled, shape, seed, ranks)
    } catch (error) {
      for (const pass of compiled.values()) pass.release()
      throw error
    }
  }

  /**
   * Evaluates once under every rule.
   * @param capacity The rule of the loss and of all other fields outside `capacities`.
   * @param limit Maximum number of batches; 0 = all.
   * @param groups Groups of the documents of the text; if given, each group and each domain is evaluated too.
   * @param isStopped Called before the batches that ranks compute at the same time; all ranks must get the same answer.
   * @returns null if the evaluation was stopped.
   */
  async run(
    text: EvaluationText,
    capacity: CapacityRule,
    limit: number | undefined,
    groups: DocumentGroups | null,
    isStopped: () => Promise<boolean>,
  ): Promise<EvaluationResult | null>
  async run(
    text: EvaluationText,
    capacity: CapacityRule,
    limit?: number,
    groups?: DocumentGroups | null,
  ): Promise<EvaluationResult>
  async run(
    { heldOut, tokenizer }: EvaluationText,
    capacity: CapacityRule,
    limit = 0,
    groups: DocumentGroups | null = null,
    isStopped?: () => Promise<boolean>,
  ): Promise<EvaluationResult | null> {
    const { batch, passes, shape } = this
    const documents = groups && new DocumentSums(groups, shape, tokenizer.bytesOf)
    const groupCount = groups?.groups ?? 0
    const distinct = this.programs
    const [share, ranks] = [this.ranks?.rank ?? 0, this.ranks?.size ?? 1]
    /** Statistics of this rank: by batch, then by pass. */
    const own: Float64Array[] = []
    const counts: number[] = []
    let bytes = 0
    for (const { counted, starts } of heldOutBatches(heldOut, shape, batch)) {
      if (isStopped && counts.length % ranks === 0) {
        await nextTurn()
        if (await isStopped()) return null
      }
      documents?.add(batch.targets, starts)
      if (counts.length % ranks === share) own.push(await this.runPasses(distinct, counts.length, documents))
      for (const target of batch.targets) bytes += target < 0 ? 0 : (tokenizer.bytesOf[target] ?? 0)
      if (counts.push(counted) === limit) break
    }
    // The ranks of an expert group run every pass together, so the last round is filled up.
    if (own.length < Math.ceil(counts.length / ranks))
      own.push(await this.runPasses(distinct, counts.length, documents))
    const all = await this.ofAllRanks(own)
    const empty = (pass: CompiledPass): Sum => ({
      nats: 0,
      layerLoss: 0,
      layers: pass.emptyCounts(),
      groups: new Float64Array(groupCount),
    })
    const sums = new Map(distinct.map((pass) => [pass, empty(pass)]))
    let tokens = 0
    for (const [i, counted] of counts.entries()) {
      let at = 0
      for (const [pass, sum] of sums) {
        const ofRank = all[i % ranks] as readonly Float64Array[]
        const statistics = ofRank[Math.floor(i / ranks)] as Float64Array
        const { loss, layerLoss } = addStatistics(sum.layers, statistics.subarray(at))
        sum.nats += loss * counted
        sum.layerLoss += layerLoss * counted
        at += pass.statisticsSize
        for (let g = 0; g < groupCount; g++) sum.groups[g] = (sum.groups[g] as number) + (statistics[at + g] as number)
        at += groupCount
      }
      tokens += counted
    }
    const sumOf = byRule((rule) => sums.get(passes[rule]) as Sum)
    const under = (rule: CapacityRule) => {
      const { nats, layers } = sumOf[rule]
      return { loss: nats / tokens, bits_per_byte: nats / Math.LN2 / bytes, ...summarize(layers) }
    }
    const evaluation: Evaluation = {
      ...under(capacity),
      ...(passes[capacity].hasLayerLoss && { layer_loss: sumOf[capacity].layerLoss / tokens }),
      evaluated_tokens: tokens,
      capacity,
      capacities: byRule((rule): CapacityEvaluation => {
        const { loss, bits_per_byte, drop_rate, unserved_rate } = under(rule)
        return { loss, bits_per_byte, drop_rate, unserved_rate }
      }),
      ...documents?.records(byRule((rule) => sumOf[rule].groups)),
    }
    return { evaluation, layers: sumOf[capacity].layers }
  }

  /** Runs the batch in memory under every rule. @param index Index of the batch. */
  private async runPasses(
    passes: readonly CompiledPass[],
    index: number,
    documents: DocumentSums | null,
  ): Promise<Float64Array> {
    const statistics: number[] = []
    for (const pass of passes) {
      pass.drawChoices(this.seed, 'eval', index)
      await pass.run()
      statistics.push(...pass.statistics(), ...(documents?.natsOf(pass.tokenLosses) ?? []))
    }
    return Float64Array.from(statistics)
  }

  /** The statistics of all ranks, which have the same number of batches. */
  private async ofAllRanks(own: readonly Float64Array[]): Promise<readonly (readonly Float64Array[])[]> {
    if (!this.ranks) return [own]
    const size = own[0]?.length ?? 0
    const all = await this.ranks.allGather(Float64Array.from(own.flatMap((values) => [...values])))
    return Array.from({ length: this.ranks.size }, (_, rank) =>
      own.map((_, i) => all.subarray((rank * own.length + i) * size, (rank * own.length + i + 1) * size)),
    )
  }

  /** The programs of the evaluation, which run in turn. */
  get programs(): readonly CompiledPass[] {
    return [...new Set(Object.values(this.passes))]
  }

  release(): void {
    for (const pass of this.programs) pass.release()
  }
}

/** Totals over the batches so far. */
interface Sum {
  nats: number
  /** Sum of the losses of the user's own layers, each times the tokens of its batch. */
  layerLoss: number
  readonly layers: readonly LayerCounts[]
  /** Nats of each group of documents. */
  readonly groups: Float64Array
}

/** A key that is equal for two rules that compute the same: same router, same capacity in every layer. */
const computationOf = ({ moe }: ModelConfig, { losses }: TracedPass): string =>
  [moe?.router, ...losses.reports.map(({ capacity }) => capacity)].join(' ')
