/** Times training steps on random tokens in memory; writes nothing. */

import { median } from '../../core/averages.ts'
import type { RunConfig } from '../../core/config/run-config.ts'
import { describeModel } from '../../core/model/describe.ts'
import { keptAssignments, keptFlops } from '../../core/model/routing/statistics.ts'
import { randomFor } from '../../core/random.ts'
import { type Engine, engineOf } from '../../engine/contract/engine.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import type { StepEvent } from '../../engine/contract/times.ts'
import type { Batch } from '../../train/data/batches.ts'
import { separatorOf } from '../../train/data/first-visible.ts'
import { measureBandwidth } from '../../train/measure/bandwidth.ts'
import { Ceiling, type CeilingReport } from '../../train/measure/mfu.ts'
import type { StepProfile } from '../../train/measure/step-profile.ts'
import { initialize, initialScales } from '../../train/step/store/initialize.ts'
import { createStore, type StepOutcome, Trainer } from '../../train/step/trainer.ts'
import { openRuntime } from '../run/session.ts'
import { measureLargePeak } from './machine.ts'

export interface BenchmarkOptions {
  /** Number of timed steps, after the warm-up. */
  readonly steps: number
  /** Whether the timed steps are recorded; then the result has `profile` and `trace`. */
  readonly profile?: boolean
  readonly signal?: AbortSignal
}

/** Medians over the timed steps. */
export interface BenchmarkResult extends Engine, CeilingReport {
  /** How the engine deviates from the requested engine. */
  readonly notice?: string
  readonly parameters: number
  readonly activeParameters: number
  readonly tokensPerSecond: number
  /** Floating-point operations of the model in a step, without padding and dropped assignments. */
  readonly flopsPerStep: number
  readonly stepMs: number
  readonly gradientMs: number
  /** Time of gradient norm and optimizer. */
  readonly updateMs: number
  readonly mfu: number
  /** Share of assignments that are dropped, 0 to 1. */
  readonly dropRate: number
  /** Peak memory of this process up to the last step. */
  readonly peakBytes: number
  readonly profile?: StepProfile
  /** Work of every thread in the last step. */
  readonly trace?: readonly StepEvent[]
}

/** Number of steps until all memory has been used once and the balancing loss has evened out the initial routing. */
const WARM_UP = 8

export async function benchmark(config: RunConfig, options: BenchmarkOptions): Promise<BenchmarkResult> {
  const { steps, profile = false, signal } = options
  const bench = await TrainingBench.open(config, profile)
  try {
    await bench.run(WARM_UP)
    if (profile) bench.resetProfile()
    const timed = await bench.run(steps, signal)
    await bench.measureCeiling()
    return { ...bench.result(timed), ...(profile && (await bench.recorded())) }
  } finally {
    await bench.close()
  }
}

export interface TimedStep {
  readonly outcome: StepOutcome
  readonly ms: number
}

/** A trainer on given or random tokens that runs a few steps at a time, e.g. in turn with a peer program. */
export class TrainingBench {
  private readonly config: RunConfig
  private readonly runtime: Runtime
  private readonly trainer: Trainer
  private readonly batchOf: (step: number) => Batch
  private readonly ceiling: Ceiling
  private readonly release: () => Promise<void>
  private step = 0
  /** Peak memory, which is read after the steps, because measuring the ceiling needs memory too. */
  private peakBytes = 0

  private constructor(
    config: RunConfig,
    runtime: Runtime,
    trainer: Trainer,
    batchOf: (step: number) => Batch,
    ceiling: Ceiling,
    release: () => Promise<void>,
  ) {
    this.config = config
    this.runtime = runtime
    this.trainer = trainer
    this.batchOf = batchOf
    this.ceiling = ceiling
    this.release = release
  }

  /**
   * Opens a runtime and compiles a trainer on it.
   * @param batchOf The batch of a step (from 1), which must not change during the step. Default: one random batch.
   */
  static async open(
    requested: RunConfig,
    profile = false,
    batchOf: (step: number) => Batch = always(randomBatch(requested)),
  ): Promise<TrainingBench> {
    // The learning rate is full from the first step, so that the balancing loss acts as in the middle of a training.
    const schedule = { ...requested.train.schedule, kind: 'constant' as const, warmup: 0 }
    const config = { ...requested, train: { ...requested.train, schedule } }
    const runtime = await openRuntime(config, profile)
    const ceiling = new Ceiling(() => measureLargePeak(runtime))
    await ceiling.measure()
    const store = createStore(runtime, config)
    await initialize(store, config.train.seed, initialScales(config))
    // Positions of documents do not affect the time, so any token can serve as the end of text.
    const separator = separatorOf(config.data, { endOfText: 0 })
    const trainer = await Trainer.compile(runtime, config, store, separator)
    return new TrainingBench(config, runtime, trainer, batchOf, ceiling, async () => {
      await trainer.release()
      await runtime.close()
    })
  }

  /** @see Trainer.stateBytes */
  get stateBytes(): number {
    return this.trainer.stateBytes
  }

  /** @see Trainer.programBytes */
  get programBytes(): number | undefined {
    return this.trainer.programBytes
  }

  async run(steps: number, signal?: AbortSignal): Promise<TimedStep[]> {
    const timed: TimedStep[] = []
    for (let i = 0; i < steps && !signal?.aborted; i++) {
      const batch = this.batchOf(++this.step)
      const start = performance.now()
      const outcome = await this.trainer.step(this.step, batch)
      timed.push({ outcome, ms: performance.now() - start })
    }
    this.peakBytes = process.resourceUsage().maxRSS * 1024
    return timed
  }

  result(timed: readonly TimedStep[]): BenchmarkResult {
    const { model, train } = this.config
    const { parameters, activeParameters, ...counted } = describeModel(model)
    const tokens = train.batch * model.sequence
    const medianOf = (value: (step: TimedStep) => number) => median(timed.map(value))
    const stepMs = medianOf(({ ms }) => ms)
    const kept = medianOf(({ outcome }) => keptAssignments(outcome.layers))
    const assigned = medianOf(({ outcome }) =>
      outcome.layers.reduce((total, layer) => total + layer.tokens.reduce((a, b) => a + b, 0), 0),
    )
    const expertFlops = medianOf(({ outcome }) => keptFlops(outcome.layers, counted.flopsPerAssignment))
    const flops = tokens * counted.denseFlopsPerToken + expertFlops
    this.ceiling.recordRate((flops - tokens * counted.maskedFlopsPerToken) / (stepMs / 1000))
    const { notice } = this.runtime
    return {
      ...engineOf(this.runtime),
      ...(notice !== undefined && { notice }),
      ...this.ceiling.report(),
      parameters,
      activeParameters,
      tokensPerSecond: tokens / (stepMs / 1000),
      flopsPerStep: flops,
      stepMs,
      gradientMs: medianOf(({ outcome }) => outcome.gradientMs),
      updateMs: medianOf(({ outcome }) => outcome.updateMs),
      mfu: this.ceiling.utilisation(flops / (stepMs / 1000)),
      dropRate: assigned > 0 ? 1 - kept / assigned : 0,
      peakBytes: this.peakBytes,
    }
  }

  /** Measures the ceiling again: the machine may have been busy the first time. */
  measureCeiling(): Promise<void> {
    return this.ceiling.measure()
  }

  /** Excludes earlier steps from the profile. */
  resetProfile(): void {
    this.trainer.resetProfile()
  }

  /** Profile of the steps since the last reset; requires a bench that was opened with `profile`. */
  async recorded(): Promise<{ profile: StepProfile; trace: readonly StepEvent[] }> {
    const times = this.trainer.profile()
    const { runtime } = this
    const { peakFlops } = this.ceiling.report()
    const bandwidth = await measureBandwidth(runtime)
    return { profile: { ...times, ...engineOf(runtime), peakFlops, bandwidth }, trace: this.trainer.lastStep() }
  }

  close(): Promise<void> {
    return this.release()
  }
}

const always =
  <T>(value: T) =>
  (): T =>
    value

function randomBatch({ model, train }: RunConfig): Batch {
  const random = randomFor(train.seed, 'benchmark')
  const draw = () => Int32Array.from({ length: train.batch * model.sequence }, () => random.integer(model.vocabulary))
  return { tokens: draw(), targets: draw() }
}
