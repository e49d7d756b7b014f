/**
 * The training loop: what happens in which order, and what is written down.
 *
 *   open the run · prepare data, memory, programs · for each step: gradient, update, log,
 *   sometimes evaluate, sometimes checkpoint · summary
 *
 * Everything that a later step depends on is in the checkpoint or follows from the configuration and
 * the step number, so a run that is killed at any instant continues bit for bit.
 */
import { type Batch, type Dataset, tokenizerFromJson, trainBatch } from '../data/index.ts'
import { RunError, UsageError } from '../errors.ts'
import { describeModel } from '../model/describe.ts'
import type { Runtime } from '../runtime/index.ts'
import { newestCheckpoint, readCheckpoint, writeCheckpoint } from './checkpoint/checkpoint.ts'
import type { RunConfig } from './config.ts'
import { Evaluator } from './evaluation.ts'
import { initialize } from './initialize.ts'
import type { EvalRecord, TrainEvent, TrainRecord, TrainSummary } from './metrics.ts'
import { reportNonFinite } from './non-finite.ts'
import { measurePeakFlops } from './peak.ts'
import { RunDirectory } from './run-directory.ts'
import { openRunData, openRuntime } from './session.ts'
import { keptAssignments, type LayerCounts, median, routingRecord, summarize } from './statistics.ts'
import type { ParameterStore } from './store.ts'
import { createStore, type StepOutcome, Trainer } from './trainer.ts'

export interface TrainOptions {
  readonly directory: string
  /** Continue the run in the directory from its newest checkpoint that verifies. */
  readonly resume: boolean
  /** Aborted: the step is finished, a checkpoint written, and the summary says `interrupted`. */
  readonly signal?: AbortSignal
  /** Record the time of every node; the summary carries it. */
  readonly profile?: boolean
  readonly onEvent?: (event: TrainEvent) => void
}

/** What a checkpoint keeps besides tensors. */
interface State {
  /** What the text, its split and its tokens were ({@link Dataset.hash}): other text is another run. */
  readonly data: string
  readonly updates: number
  readonly nonFiniteInRow: number
}

/**
 * Trains a model and leaves a run directory.
 * @throws UsageError when the data or the directory do not allow it
 * @throws RunError when the disk is full, another process trains here, or the loss stays non-finite
 */
export async function train(config: RunConfig, options: TrainOptions): Promise<TrainSummary> {
  const run = await RunDirectory.open(options.directory, config, options.resume)
  try {
    const loop = new Loop(config, options, run)
    return await loop.run()
  } catch (error) {
    if (error instanceof UsageError) await run.discard()
    throw error
  } finally {
    await run.close()
  }
}

class Loop {
  private readonly config: RunConfig
  private readonly options: TrainOptions
  private readonly files: RunDirectory
  private readonly tell: (event: TrainEvent) => void
  private readonly flops: ReturnType<typeof describeModel>
  private nonFiniteInRow = 0
  private peakFlops = 0
  private lastEvaluation: EvalRecord | null = null

  constructor(config: RunConfig, options: TrainOptions, files: RunDirectory) {
    this.config = config
    this.options = options
    this.files = files
    this.tell = options.onEvent ?? (() => {})
    this.flops = describeModel(config.model)
  }

  async run(): Promise<TrainSummary> {
    const { config, files } = this
    const say = (message: string) => this.tell({ kind: 'prepare', message })
    const tokenizerJson = await files.tokenizer()
    const opening = openRunData(config, {
      say,
      ...(tokenizerJson !== null && { tokenizer: await tokenizerFromJson(tokenizerJson) }),
      ...(this.options.signal && { signal: this.options.signal }),
    })
    const data = await opening.catch((error: unknown) => {
      if (this.options.signal?.aborted) return null
      throw error
    })
    if (!data) return this.interruptedAtStart()
    try {
      if (tokenizerJson === null) await files.saveTokenizer(data.tokenizer.json)
      const runtime = await openRuntime(config, this.options.profile)
      try {
        return await this.withRuntime(runtime, data, say)
      } finally {
        await runtime.close()
      }
    } finally {
      await data.close()
    }
  }

  /** Reading and tokenizing the text was interrupted: the run is as it was. */
  private async interruptedAtStart(): Promise<TrainSummary> {
    const { train, model } = this.config
    const step = (this.options.resume && (await newestCheckpoint(this.files.checkpoints, () => {}))?.step) || 0
    const tokens = step * train.batch * model.sequence
    const nothing = { seconds: 0, tokensPerSecond: 0, mfu: 0, last: null, evaluation: null }
    return { directory: this.options.directory, interrupted: true, step, tokens, ...nothing }
  }

  private async withRuntime(runtime: Runtime, data: Dataset, say: (message: string) => void): Promise<TrainSummary> {
    const { config } = this
    this.peakFlops = await measurePeakFlops(runtime)
    say('compiling the model')
    const store = createStore(config)
    const trainer = await Trainer.compile(runtime, config, store)
    try {
      return await this.withTrainer(runtime, data, store, trainer, say)
    } finally {
      await trainer.release()
    }
  }

  private async withTrainer(
    runtime: Runtime,
    data: Dataset,
    store: ParameterStore,
    trainer: Trainer,
    say: (message: string) => void,
  ): Promise<TrainSummary> {
    const { config } = this
    const evaluator = await Evaluator.compile(
      runtime,
      config.model,
      store,
      config.train.batch / config.train.microBatches,
      config.train.seed,
    )
    const fromStep = await this.restore(data, store, trainer, say)
    this.tell({
      kind: 'start',
      directory: this.options.directory,
      steps: config.train.steps,
      fromStep,
      parameters: this.flops.parameters,
      activeParameters: this.flops.activeParameters,
      trainTokens: data.train.length,
      heldOutTokens: data.heldOut.length,
      peakFlops: this.peakFlops,
    })
    const summary = await this.steps(fromStep, data, store, trainer, evaluator)
    const profile = this.options.profile ? { profile: trainer.profile() } : {}
    evaluator.release()
    return { ...summary, ...profile }
  }

  /** Initial parameters, or those of the newest checkpoint; gives the step they are of. */
  private async restore(
    data: Dataset,
    store: ParameterStore,
    trainer: Trainer,
    say: (message: string) => void,
  ): Promise<number> {
    const { train } = this.config
    const found = this.options.resume
      ? await newestCheckpoint(this.files.checkpoints, (path, reason) =>
          this.tell({ kind: 'warning', message: `skipping checkpoint ${path}: ${reason}` }),
        )
      : null
    if (!found) {
      say('initial parameters')
      await initialize(store, train.seed, train.init.scale)
      await this.files.rewind(0)
      return 0
    }
    say(`continuing from ${found.path}`)
    const { data: hash, updates, nonFiniteInRow } = found.state as State
    if (hash !== data.hash)
      throw new UsageError(
        `data.source: the text has changed since ${found.path} was written (put back what the run was trained on, ` +
          'or start a new run)',
      )
    await readCheckpoint(found.path, this.tensors(store, trainer))
    trainer.updates = updates
    this.nonFiniteInRow = nonFiniteInRow
    await this.files.rewind(found.step)
    return found.step
  }

  private async steps(
    fromStep: number,
    data: Dataset,
    store: ParameterStore,
    trainer: Trainer,
    evaluator: Evaluator,
  ): Promise<TrainSummary> {
    const { train, model } = this.config
    const shape = { batch: train.batch, sequence: model.sequence }
    // Two batches: the next is read while the step computes.
    const batches = [emptyBatch(shape), emptyBatch(shape)] as const
    const load = (step: number) => trainBatch(data.train, shape, this.config.data.seed, step - 1, batchOf(step))
    const batchOf = (step: number): Batch => batches[step % 2] as Batch

    const started = performance.now()
    const speeds: TrainRecord[] = []
    let last: TrainRecord | null = null
    let step = fromStep
    let saved = fromStep
    const aborted = () => this.options.signal?.aborted ?? false

    if (step < train.steps) load(step + 1)
    while (step < train.steps && !aborted()) {
      step++
      const begun = performance.now()
      const computing = trainer.step(step, batchOf(step))
      if (step < train.steps) load(step + 1)
      const outcome = await computing
      last = this.log(step, outcome, performance.now() - begun)
      speeds.push(last)
      if (outcome.skipped) await this.nonFinite(step, outcome, batchOf(step), store)
      else this.nonFiniteInRow = 0

      const atEnd = step === train.steps
      if (atEnd || step % train.evalEvery === 0) await this.evaluate(step, data, evaluator)
      if (atEnd || step % train.checkpointEvery === 0) {
        await this.checkpoint(step, data, store, trainer)
        saved = step
      }
    }
    if (step > saved) await this.checkpoint(step, data, store, trainer)

    return {
      directory: this.options.directory,
      interrupted: step < train.steps,
      step,
      tokens: step * shape.batch * shape.sequence,
      seconds: (performance.now() - started) / 1000,
      tokensPerSecond: median(speeds.map((record) => record.tokens_per_second)),
      mfu: median(speeds.map((record) => record.mfu)),
      last,
      evaluation: this.lastEvaluation,
    }
  }

  private log(step: number, outcome: StepOutcome, stepMs: number): TrainRecord {
    const { train, model } = this.config
    const tokens = train.batch * model.sequence
    const record: TrainRecord = {
      kind: 'train',
      step,
      tokens: step * tokens,
      loss: outcome.loss,
      ...summarize(outcome.layers),
      learning_rate: outcome.learningRate,
      grad_norm: outcome.gradNorm,
      tokens_per_second: tokens / (stepMs / 1000),
      step_ms: stepMs,
      mfu: this.flopsOf(tokens, outcome.layers) / (stepMs / 1000) / this.peakFlops,
      ...(outcome.skipped && { skipped: true }),
    }
    this.files.record('train', step, record)
    if (step % train.routingEvery === 0)
      for (const counts of outcome.layers) this.files.recordRouting(routingRecord(step, counts))
    this.tell(record)
    return record
  }

  /** Useful operations of a step: dropped assignments and padding count for nothing. */
  private flopsOf(tokens: number, layers: readonly LayerCounts[]): number {
    const { denseFlopsPerToken, flopsPerAssignment } = this.flops
    return tokens * denseFlopsPerToken + keptAssignments(layers) * flopsPerAssignment
  }

  private async evaluate(step: number, data: Dataset, evaluator: Evaluator): Promise<void> {
    const { evaluation } = await evaluator.run(data, this.config.train.evalBatches)
    const tokens = step * this.config.train.batch * this.config.model.sequence
    const record: EvalRecord = { kind: 'eval', step, tokens, ...evaluation }
    this.lastEvaluation = record
    this.files.record('eval', step, record)
    this.tell(record)
  }

  private async checkpoint(step: number, data: Dataset, store: ParameterStore, trainer: Trainer): Promise<void> {
    // What the checkpoint's steps wrote must be on disk before it: a resumed run keeps those lines.
    await this.files.flush()
    const state: State = { data: data.hash, updates: trainer.updates, nonFiniteInRow: this.nonFiniteInRow }
    const path = await writeCheckpoint(this.files.checkpoints, step, this.tensors(store, trainer), state, {
      keep: this.config.train.keep,
    })
    this.tell({ kind: 'checkpoint', step, path })
  }

  private tensors(store: ParameterStore, trainer: Trainer) {
    return { model: store.parameterTensors(), optimizer: trainer.optimizer.stateTensors() }
  }

  private async nonFinite(step: number, outcome: StepOutcome, batch: Batch, store: ParameterStore): Promise<void> {
    const message = await reportNonFinite(this.options.directory, step, outcome, batch, store)
    this.tell({ kind: 'warning', message })
    this.nonFiniteInRow++
    const { maxNonFinite } = this.config.train
    if (this.nonFiniteInRow < maxNonFinite) return
    throw new RunError(
      `${message}\nstopping after ${maxNonFinite} such steps in a row (train.maxNonFinite); ` +
        'lower train.schedule.learningRate or raise its warmup, and resume from the last checkpoint',
    )
  }
}

const emptyBatch = ({ batch, sequence }: { batch: number; sequence: number }): Batch => ({
  tokens: new Int32Array(batch * sequence),
  targets: new Int32Array(batch * sequence),
})
