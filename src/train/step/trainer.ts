/**
 * One optimizer step, from a batch to updated parameters. Files, schedules of evaluation and output belong
 * to the loop around it (src/train/loop/training-loop.ts).
 */
import type { RunConfig } from '../../core/config/run-config.ts'
import { withFrozen } from '../../core/model/freeze.ts'
import { parameterSpecs } from '../../core/model/parameters.ts'
import { movedBiases } from '../../core/model/routing/router-bias.ts'
import type { LayerCounts } from '../../core/model/routing/statistics.ts'
import type { ArenaKernels, Gate, GateOptions } from '../../engine/contract/arena-kernels.ts'
import { type Ranks, sumOverRanks } from '../../engine/contract/ranks.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import type { NodeTime, StepEvent } from '../../engine/contract/times.ts'
import type { Batch } from '../data/batches.ts'
import { kernelTimes, timesSince } from './kernel-times.ts'
import { type RecordedSteps, Timeline } from './metrics/timeline.ts'
import type { Optimizer, UpdateSettings } from './optimizer/contract.ts'
import { createOptimizer, optimizerMemory } from './optimizer/create-optimizer.ts'
import { sumsOfAllRanks } from './optimizer/norm.ts'
import { balanceSchedule, learningRate } from './optimizer/schedule.ts'
import { isRouter, type Updated, updatedOf } from './optimizer/updated.ts'
import type { GradientShape } from './passes/gradient-pass.ts'
import {
  type EnqueuedGradient,
  GradientProgram,
  type GradientResult,
  gradientScratch,
} from './passes/gradient-program.ts'
import type { CompiledPass, ExpertLoads } from './passes/pass.ts'
import { exchangeScratch } from './ranks/gradient-sum.ts'
import type { AllToAllStages } from './ranks/ledger.ts'
import { exchangesOfStep, type OwnStep } from './ranks/times.ts'
import type { Memory } from './store/bank.ts'
import { blockFloatsOf, type Layout } from './store/placement.ts'
import { ParameterStore } from './store/store.ts'

export interface StepOutcome {
  readonly loss: number
  /** Losses of all passes; the passes of the first rank come first. */
  readonly passLosses: readonly number[]
  /** Mean over the passes of the sum of the losses of the user's own layers; null if they have none. */
  readonly layerLoss: number | null
  readonly layers: readonly LayerCounts[]
  /** Gradient norm before clipping. */
  readonly gradNorm: number
  readonly learningRate: number
  /** Whether the loss or the gradient was not finite; then no parameter has changed. */
  readonly skipped: boolean
  readonly gradientMs: number
  readonly updateMs: number
  /** Assignments that the experts of each rank computed; null if every rank has all experts. */
  readonly keptByRank: readonly number[] | null
  /** Times at which this rank came to its exchanges with other ranks; null without other ranks. */
  readonly own: OwnStep | null
}

/** The values of a gradient that is computed already. */
const known = ({ loss, layers }: GradientResult): EnqueuedGradient => ({
  closed: !Number.isFinite(loss),
  losses: [],
  loads: layers.map(({ layer, module, tokens }) => ({ layer, module, known: tokens, enqueued: null })),
})

type Shaped = Pick<RunConfig, 'model' | 'train' | 'parallel'>

const shapeOf = ({ model, train }: Shaped, { shards, passes }: Layout): GradientShape => ({
  batch: train.batch,
  shards,
  microBatches: passes,
  sequence: model.sequence,
})

/**
 * The layout of a rank. Without `parallel.reproducible` a rank adds its passes one after the other, as one shard.
 * @param place Default: this process alone, which computes all shards.
 */
export function layoutOf(
  { parallel, train }: Pick<RunConfig, 'parallel' | 'train'>,
  place: Pick<Ranks, 'rank' | 'size'> | null = null,
): Layout {
  const { rank, size: ranks } = place ?? { rank: 0, size: 1 }
  const { shards = ranks, reproducible, expert, headroom } = parallel
  return {
    rank,
    ranks,
    expert: Math.min(expert, ranks),
    shards: reproducible ? shards : ranks,
    passes: reproducible ? train.microBatches : (train.microBatches * shards) / ranks,
    headroom,
    reproducible,
    blockFloats: blockFloatsOf(train.optimizer.kind),
  }
}

/** Allocates memory for the parameters, gradients and optimizer state of a run. */
export function createStore(runtime: Memory, config: Shaped, layout = layoutOf(config)): ParameterStore {
  const specs = withFrozen(parameterSpecs(config.model), config.train.freeze)
  const { moments, scratch } = optimizerMemory(config.train, specs, layout)
  const others = gradientScratch(config.model, shapeOf(config, layout)) + exchangeScratch(specs, layout)
  return new ParameterStore(runtime, specs, moments, others + scratch, layout)
}

export class Trainer {
  readonly optimizer: Optimizer
  /**
   * Number of updates so far: steps that were not skipped. Checkpoints keep it, since bias correction depends on it.
   */
  updates = 0
  private readonly config: RunConfig['train']
  private readonly moe: RunConfig['model']['moe']
  private readonly runtime: Runtime
  private readonly gradient: GradientProgram
  private readonly kernels: ArenaKernels
  private readonly store: ParameterStore
  private readonly ranks: Ranks | null
  private readonly overlap: boolean
  /** The tensors that are updated while routers learn, and after that. */
  private readonly learning: Updated
  private readonly frozen: Updated
  private readonly timeline = new Timeline()
  private steps = 0
  private stepsMs = 0
  private kernelsBefore: readonly NodeTime[] = []

  private constructor(
    { model, train, parallel }: RunConfig,
    runtime: Runtime,
    gradient: GradientProgram,
    kernels: ArenaKernels,
    optimizer: Optimizer,
    store: ParameterStore,
    ranks: Ranks | null,
  ) {
    this.runtime = runtime
    this.config = train
    this.overlap = parallel.overlap
    this.moe = model.moe
    this.gradient = gradient
    this.kernels = kernels
    this.optimizer = optimizer
    this.store = store
    this.ranks = ranks
    const { groups } = gradient.parameters
    this.learning = updatedOf(store, groups, () => true)
    this.frozen = updatedOf(store, groups, (spec) => !isRouter(spec))
  }

  /**
   * @param separator Token at which attention restarts (`data.crossDocuments`); default: a token sees its whole window.
   * @param ranks The ranks that take part; default: this process alone.
   * @param replay Whether batches have the experts of their tokens.
   */
  static async compile(
    runtime: Runtime,
    config: RunConfig,
    store: ParameterStore,
    separator?: number,
    ranks: Ranks | null = null,
    replay = false,
  ): Promise<Trainer> {
    const { model, train } = config
    const kernels = await runtime.createArenaKernels()
    try {
      const { overlap } = config.parallel
      const shape = shapeOf(config, store.layout)
      const balance = balanceSchedule(config)
      const setting = { runtime, kernels, config: model, store, shape, ranks, separator, overlap, balance, replay }
      const gradient = await GradientProgram.compile(setting, train.seed)
      const optimizer = await createOptimizer(runtime, kernels, store, train)
      return new Trainer(config, runtime, gradient, kernels, optimizer, store, ranks)
    } catch (error) {
      await kernels.close()
      throw error
    }
  }

  /** Whether a step waits for its results only at its end. With other ranks it waits for their gradients before. */
  private get defers(): boolean {
    return this.runtime.defers && this.ranks === null
  }

  /** Bytes of parameters, gradients, optimizer state and scratch memory, padding included. */
  get stateBytes(): number {
    return this.store.byteLength
  }

  /**
   * Bytes that the gradient program uses besides parameters and gradients; undefined if the memory is not planned
   * beforehand.
   */
  get programBytes(): number | undefined {
    return this.gradient.memoryBytes
  }

  /** The programs of a step, which run in turn. */
  get passes(): readonly CompiledPass[] {
    return this.gradient.passes
  }

  /**
   * Does a step.
   * @param step Number of the step, from 1.
   * @param batch The batch, which must not change until the promise is settled.
   */
  async step(step: number, batch: Batch): Promise<StepOutcome> {
    const { runtime, timeline, gradient, defers } = this
    timeline.clear()
    runtime.orderLog?.clear()
    const start = performance.now()
    const early = await timeline.time('gradient', async () => {
      await gradient.run(step, batch, timeline)
      if (defers) return null
      await runtime.synchronize()
      return gradient.result(timeline)
    })
    const between = performance.now()
    const isFrozen = step > (this.config.routerSteps ?? Number.POSITIVE_INFINITY)
    const updated = isFrozen ? this.frozen : this.learning
    const { closed, losses, loads } = early ? known(early) : gradient.enqueued()
    const gate = await timeline.time('norm', () => this.gate(updated, { closed, finite: losses }))
    const rate = learningRate(this.config.schedule, step, this.config.steps)
    // A device that defers decides later. Otherwise it is known already, and nothing is enqueued for a step that is skipped.
    if (defers || gate.isOpen) {
      await timeline.time('update', () => this.update({ step: this.updates + 1, learningRate: rate }, gate, updated))
      if (!isFrozen) await this.balance(loads, gate)
    }
    await runtime.synchronize()
    const { loss, passLosses, layerLoss, layers, keptByRank, arrivalMs } = early ?? (await gradient.result(timeline))
    const skipped = !gate.isOpen
    if (!skipped) {
      this.updates++
      if (this.ranks && !this.overlap) await timeline.meet('share parameters', () => this.settle())
    }
    const end = performance.now()
    this.steps++
    this.stepsMs += end - start
    const gradientEnd = defers ? end : between
    return {
      loss,
      passLosses,
      layerLoss,
      layers,
      gradNorm: gate.norm,
      learningRate: rate,
      skipped,
      gradientMs: gradientEnd - start,
      updateMs: end - gradientEnd,
      keptByRank,
      own: this.ranks && {
        ms: end - start,
        arrivalMs,
        ...exchangesOfStep(performance.timeOrigin + start, runtime.orderLog, timeline),
      },
    }
  }

  /** The gate, by the global gradient norm (`optimizer/norm.ts`). */
  private gate(updated: Updated, condition: Pick<GateOptions, 'closed' | 'finite'>): Promise<Gate> {
    const { kernels, ranks, timeline } = this
    const sum = (own: Float64Array) => timeline.meet('gather norms', () => sumOverRanks(ranks, own))
    const all = ranks ? sumsOfAllRanks(updated, sum) : undefined
    return kernels.gate(updated.gradients, { clip: this.config.optimizer.clip, all, ...condition })
  }

  private async update(settings: UpdateSettings, gate: Gate, { names }: Updated): Promise<void> {
    const { parameters } = this.gradient
    for (const [i, group] of parameters.groups.entries()) {
      // In a group of routers alone, there may be no tensor that is still updated.
      if (names[i]?.size !== 0) await this.optimizer.update(settings, gate, names[i])
      parameters.begin(group)
    }
    await parameters.passOn()
  }

  /** Enqueues the change of the biases of routers. */
  private async balance(loads: readonly ExpertLoads[], gate: Gate): Promise<void> {
    const { moe, store, kernels } = this
    const biases = movedBiases(moe, store.specs, loads).map(({ name, loads: { known, enqueued } }) => {
      return { ...store.parameter(name), known, enqueued }
    })
    if (moe && biases.length > 0) await kernels.balance(biases, moe.biasRate, gate)
  }

  /**
   * Waits until all parameters have their values after the last step: some may still be on their way when {@link step}
   * returns. Call it before anything but the next step reads them.
   */
  settle(): Promise<void> {
    return this.gradient.parameters.settle()
  }

  /** The all-to-alls of each pass of a step. */
  get allToAlls(): readonly AllToAllStages[] {
    return this.gradient.allToAlls
  }

  /** Excludes earlier steps from the profile. */
  resetProfile(): void {
    this.gradient.resetProfile()
    for (const program of this.optimizer.programs ?? []) program.resetProfile()
    this.kernelsBefore = this.kernels.profile()
    this.steps = 0
    this.stepsMs = 0
  }

  /** The steps since the last reset; ends the recording. */
  profile(): RecordedSteps {
    const kernels = timesSince(this.kernelsBefore, this.kernels.profile())
    return {
      steps: this.steps,
      microseconds: 1000 * this.stepsMs,
      nodes: [
        ...this.gradient.profile(),
        ...kernelTimes(kernels, this.store, this.gradient.scatters),
        ...(this.optimizer.programs ?? []).flatMap((program) => program.profile()),
      ],
    }
  }

  /** Work of every thread in the last step. Call it after {@link profile}, which collects single nodes. */
  lastStep(): readonly StepEvent[] {
    return [...this.timeline.events, ...this.gradient.lastRuns()]
  }

  async release(): Promise<void> {
    this.gradient.release()
    for (const program of this.optimizer.programs ?? []) program.release()
    await this.kernels.close()
  }
}
