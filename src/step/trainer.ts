/**
 * One optimizer step, from a batch to moved parameters. The trainer knows nothing of files, time or
 * people: the loop around it (train.ts) does.
 */
import type { RunConfig } from '../config/run-config.ts'
import type { Batch } from '../data/batches.ts'
import { parameterSpecs } from '../model/parameters.ts'
import type { ArenaKernels } from '../runtime/arena-kernels.ts'
import type { Runtime } from '../runtime/contract.ts'
import type { NodeTime, StepEvent } from '../runtime/times.ts'
import { GradientProgram, type GradientShape, gradientScratch } from './gradient-program.ts'
import { kernelTimes, timesSince } from './kernel-times.ts'
import { adafactor, adafactorScratch } from './optimizer/adafactor.ts'
import { ADAMW_MOMENTS, adamw } from './optimizer/adamw.ts'
import type { Optimizer } from './optimizer/contract.ts'
import { gradientNorm } from './optimizer/norm.ts'
import { updateRouterBias } from './router-bias.ts'
import { learningRate } from './schedule.ts'
import type { LayerCounts } from './statistics.ts'
import { ParameterStore } from './store.ts'
import { type RecordedSteps, Timeline } from './timeline.ts'

export interface StepOutcome {
  readonly loss: number
  readonly layers: readonly LayerCounts[]
  /** Before clipping. */
  readonly gradNorm: number
  readonly learningRate: number
  /** The loss or the gradient was not finite: no parameter has changed. */
  readonly skipped: boolean
  readonly gradientMs: number
  readonly updateMs: number
}

const shapeOf = ({ model, train }: Pick<RunConfig, 'model' | 'train'>): GradientShape => ({
  batch: train.batch,
  microBatches: train.microBatches,
  sequence: model.sequence,
})

/** Memory for the numbers of a run's model, gradients and optimizer. */
export function createStore(
  runtime: Pick<Runtime, 'createArena'>,
  { model, train }: Pick<RunConfig, 'model' | 'train'>,
): ParameterStore {
  const specs = parameterSpecs(model)
  const scratch = gradientScratch(model, shapeOf({ model, train }))
  return train.optimizer.kind === 'adamw'
    ? new ParameterStore(runtime, specs, ADAMW_MOMENTS, scratch)
    : new ParameterStore(runtime, specs, 0, scratch + adafactorScratch(specs))
}

export class Trainer {
  readonly optimizer: Optimizer
  /** Updates so far: steps that were not skipped. Bias correction counts them, so a checkpoint keeps it. */
  updates = 0
  private readonly config: RunConfig['train']
  private readonly moe: RunConfig['model']['moe']
  private readonly gradient: GradientProgram
  private readonly kernels: ArenaKernels
  private readonly store: ParameterStore
  private readonly timeline = new Timeline()
  private steps = 0
  private stepsMs = 0
  private kernelsBefore: readonly NodeTime[] = []

  private constructor(
    { model, train }: RunConfig,
    gradient: GradientProgram,
    kernels: ArenaKernels,
    optimizer: Optimizer,
    store: ParameterStore,
  ) {
    this.config = train
    this.moe = model.moe
    this.gradient = gradient
    this.kernels = kernels
    this.optimizer = optimizer
    this.store = store
  }

  /** @param separator The token at which attention begins again (`data.crossDocuments`); default: it sees the whole window. */
  static async compile(
    runtime: Runtime,
    config: RunConfig,
    store: ParameterStore,
    separator?: number,
  ): Promise<Trainer> {
    const { model, train } = config
    const kernels = await runtime.createArenaKernels()
    try {
      const setting = { runtime, kernels, config: model, store, shape: shapeOf({ model, train }), separator }
      const gradient = await GradientProgram.compile(setting, train.seed)
      const optimizer =
        train.optimizer.kind === 'adamw'
          ? adamw(kernels, store, train.optimizer)
          : adafactor(kernels, store, train.optimizer)
      return new Trainer(config, gradient, kernels, optimizer, store)
    } catch (error) {
      await kernels.close()
      throw error
    }
  }

  /** Parameters, gradients, optimizer state and scratch memory, as they are laid out. */
  get stateBytes(): number {
    return this.store.byteLength
  }

  /** What the gradient program computes in, besides parameters and gradients; undefined when it is not known beforehand. */
  get programBytes(): number | undefined {
    return this.gradient.memoryBytes
  }

  /** @param step From 1. The batch is read until the promise is settled. */
  async step(step: number, batch: Batch): Promise<StepOutcome> {
    const { timeline } = this
    timeline.clear()
    const start = performance.now()
    const { loss, layers } = await timeline.time('gradient', () =>
      this.gradient.run(step, batch.tokens, batch.targets, timeline),
    )
    const between = performance.now()
    const gradNorm = await timeline.time('norm', () => gradientNorm(this.kernels, this.store))
    const rate = learningRate(this.config.schedule, step, this.config.steps)
    const skipped = !Number.isFinite(loss) || !Number.isFinite(gradNorm)
    if (!skipped) {
      const { clip } = this.config.optimizer
      this.updates++
      const gradientScale = clip > 0 && gradNorm > clip ? clip / gradNorm : 1
      const settings = { step: this.updates, learningRate: rate, gradientScale }
      await timeline.time('update', () => this.optimizer.update(settings))
      updateRouterBias(this.store, this.moe, layers)
    }
    const end = performance.now()
    this.steps++
    this.stepsMs += end - start
    return {
      loss,
      layers,
      gradNorm,
      learningRate: rate,
      skipped,
      gradientMs: between - start,
      updateMs: end - between,
    }
  }

  /** Steps so far do not count in the profile. */
  resetProfile(): void {
    this.gradient.resetProfile()
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
      nodes: [...this.gradient.profile(), ...kernelTimes(kernels, this.store, this.gradient.scatters)],
    }
  }

  /** What every thread did in the last step; call it after {@link profile}, which knows of single nodes. */
  lastStep(): readonly StepEvent[] {
    return [...this.timeline.events, ...this.gradient.lastRuns()]
  }

  async release(): Promise<void> {
    this.gradient.release()
    await this.kernels.close()
  }
}
