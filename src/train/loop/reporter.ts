/** Converts the outcomes of steps and evaluations into records, for the logs of the run and for listeners. */

import { median } from '../../core/averages.ts'
import type { RunConfig } from '../../core/config/run-config.ts'
import { describeModel, type ModelDescription } from '../../core/model/describe.ts'
import {
  gatesByLayer,
  keptFlops,
  type LayerCounts,
  type LayerGates,
  routingRecord,
  summarize,
} from '../../core/model/routing/statistics.ts'
import type { Ceiling } from '../measure/mfu.ts'
import type { RunLog } from '../run/run-log.ts'
import type { Evaluation } from '../step/evaluation/evaluation.ts'
import type { EvalRecord, TrainRecord } from '../step/metrics/records.ts'
import type { StepOutcome } from '../step/trainer.ts'
import type { TrainEvent, TrainSummary } from './events.ts'
import type { Observed } from './rank-observer.ts'

export class Reporter {
  readonly model: ModelDescription
  /** The last records of this process. */
  last: TrainRecord | null = null
  evaluation: EvalRecord | null = null
  private readonly config: RunConfig
  private readonly files: RunLog | null
  private readonly ceiling: Ceiling
  private readonly emit: (event: TrainEvent) => void
  private readonly speeds: number[] = []
  private readonly rates: number[] = []
  /** Routing counts of the last step. */
  private routed: readonly LayerCounts[] = []

  /**
   * @param files The logs of the run; null on all ranks but the first, which writes them.
   * @param ceiling The ceiling, already measured in the precision of the run; the rates that steps reach are recorded
   * in it.
   */
  constructor(config: RunConfig, files: RunLog | null, ceiling: Ceiling, emit: (event: TrainEvent) => void) {
    this.config = config
    this.files = files
    this.ceiling = ceiling
    this.emit = emit
    this.model = describeModel(config.model)
  }

  /** @param routerFaults `router_faults` of the record; undefined if it has none. */
  step(step: number, outcome: StepOutcome, stepMs: number, routerFaults?: readonly string[]): TrainRecord {
    const { loss, layerLoss, layers, learningRate, gradNorm, skipped } = outcome
    const seconds = stepMs / 1000
    const flops = this.usefulFlops(outcome)
    this.ceiling.recordRate((flops - this.tokens(1) * this.model.maskedFlopsPerToken) / seconds)
    const record: TrainRecord = {
      kind: 'train',
      step,
      tokens: this.tokens(step),
      loss,
      ...(layerLoss !== null && { layer_loss: layerLoss }),
      ...summarize(layers),
      learning_rate: learningRate,
      grad_norm: gradNorm,
      tokens_per_second: this.tokens(1) / seconds,
      step_ms: stepMs,
      mfu: this.ceiling.utilisation(flops / seconds),
      ...(skipped && { skipped }),
      ...(routerFaults && { router_faults: routerFaults }),
    }
    this.speeds.push(record.tokens_per_second)
    this.rates.push(flops / seconds)
    this.files?.record('train', step, record)
    if (step % this.config.train.routingEvery === 0)
      for (const counts of layers) this.files?.recordRouting(routingRecord(step, counts))
    this.last = record
    this.routed = layers
    this.emit(this.ceiling.report().peakIsLowerBound ? { ...record, mfuAtMost: true } : record)
    return record
  }

  /** Records the measurements of the ranks; called on the first rank only. */
  ranks({ record, ledger }: Observed): void {
    this.files?.record('ranks', record.step, record)
    for (const line of ledger) this.files?.recordLedger(line)
    this.emit(record)
  }

  /** @param laterTokensGain `later_tokens_gain` of the record; null if there is none. */
  evaluated(step: number, evaluation: Evaluation, laterTokensGain: number | null = null): EvalRecord {
    const leak = laterTokensGain === null ? {} : { later_tokens_gain: laterTokensGain }
    const record: EvalRecord = { kind: 'eval', step, tokens: this.tokens(step), ...evaluation, ...leak }
    this.files?.record('eval', step, record)
    this.evaluation = record
    this.emit(record)
    return record
  }

  /** Medians over the steps of this process, null before the first; `mfu` uses the best ceiling known so far. */
  speed(): Pick<TrainSummary, 'tokensPerSecond' | 'mfu'> {
    if (this.speeds.length === 0) return { tokensPerSecond: null, mfu: null }
    return { tokensPerSecond: median(this.speeds), mfu: this.ceiling.utilisation(median(this.rates)) }
  }

  /** How decided routers were in the last step of this process. */
  get gates(): LayerGates[] {
    return gatesByLayer(this.routed)
  }

  /** Tokens in a number of steps. */
  tokens(steps: number): number {
    return steps * this.config.train.batch * this.config.model.sequence
  }

  /** Operations of a step without dropped assignments and padding. */
  private usefulFlops({ layers }: StepOutcome): number {
    const { denseFlopsPerToken, flopsPerAssignment } = this.model
    return this.tokens(1) * denseFlopsPerToken + keptFlops(layers, flopsPerAssignment)
  }
}
