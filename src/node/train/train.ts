/**
 * The training loop:
 *
 *   open the run, the data, the runtime · compile · restore · for each step: gradient and update,
 *   report, sometimes evaluate, sometimes checkpoint · summary
 *
 * Everything that later steps depend on is in the checkpoint or follows from the configuration and the
 * step number, so a run killed at any instant can continue bit for bit.
 */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { Cleanup } from '../../core/cleanup.ts'
import { type RunConfig, sequencesOfPass } from '../../core/config/run-config.ts'
import { option, UsageError, wording } from '../../core/errors.ts'
import { sha256 } from '../../core/sha256.ts'
import { version } from '../../core/version.ts'
import { engineOf } from '../../engine/contract/engine.ts'
import { type Ranks, sumOverRanks } from '../../engine/contract/ranks.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import type { Dataset } from '../../train/data/dataset.ts'
import { separatorOf } from '../../train/data/first-visible.ts'
import { Batches } from '../../train/loop/batches.ts'
import type { TrainEvent, TrainSummary } from '../../train/loop/events.ts'
import { tooManyNonFinite } from '../../train/loop/find-non-finite.ts'
import { memoryWarning } from '../../train/loop/memory.ts'
import { RankObserver } from '../../train/loop/rank-observer.ts'
import { Reporter } from '../../train/loop/reporter.ts'
import { measureBandwidth } from '../../train/measure/bandwidth.ts'
import { Ceiling } from '../../train/measure/ceiling.ts'
import { measurePeakFlops } from '../../train/measure/peak.ts'
import { PROFILE_WARM_UP } from '../../train/measure/step-profile.ts'
import { fromFirst, refuseDifferences, together } from '../../train/run/agreement.ts'
import { frozenNotices, runNotices } from '../../train/run/notices.ts'
import { RunState } from '../../train/run/run-state.ts'
import { Evaluator } from '../../train/step/evaluation.ts'
import { decayStart } from '../../train/step/schedule.ts'
import type { ParameterStore } from '../../train/step/store.ts'
import { createStore, layoutOf, Trainer } from '../../train/step/trainer.ts'
import { gzipBitsPerByte } from '../data/gzip.ts'
import { MissingText } from '../data/sources/files.ts'
import { tokenizerFromJson } from '../data/tokenizer/native-tokenizer.ts'
import { measureLargePeak } from '../measure/machine.ts'
import { newestCheckpoint } from '../run/checkpoint/checkpoint.ts'
import { checkpointsOf, RunDirectory } from '../run/run-directory.ts'
import { SavedState } from '../run/saved-state.ts'
import { openRunData, openRuntime } from '../run/session.ts'
import { findWeights, type WeightsOf, type WeightsSource } from '../run/weights-source.ts'
import { Abandoned, unlessAborted } from './abandon.ts'
import { drawParameters, firstParameters } from './first-parameters.ts'
import { engineFacts, expectSharedFolder, forRanks, groupOf, recordEngine, recordRanks } from './layout.ts'
import { reportNonFinite } from './non-finite.ts'

export interface TrainOptions {
  readonly directory: string
  /** Continue the run in the directory from its newest intact checkpoint; default: the directory is new. */
  readonly resume?: boolean
  /**
   * With `resume`, the step of the checkpoint to continue from. The run goes back to it: records of later steps are removed
   * from its logs, and later checkpoints are renamed to `step-XXXXXXXX.aside`.
   */
  readonly checkpoint?: number | undefined
  /**
   * Begin with the weights of another run, at step 0 and with a new optimizer state, or with `fork` at the step and in the
   * state of its checkpoint. Its tokenizer comes along, and tensors must have its shapes. They are copied into a checkpoint.
   */
  readonly from?: WeightsOf | undefined
  /**
   * On abort the current step is finished, a checkpoint is written, and the summary has `interrupted`. Before the first
   * step nothing is written; what compiles then goes on in the background, and holds its memory until it is done.
   */
  readonly signal?: AbortSignal
  /** Record the steps after the warm-up; the summary has `profile` and `trace`. */
  readonly profile?: boolean
  /** Compress held-out text, so that the start has `gzipBitsPerByte` to compare bits per byte with. */
  readonly compareWithGzip?: boolean
  /** An error that it throws ends the training. In the library it may be async: see `train` there. */
  readonly onEvent?: (event: TrainEvent) => void
  /**
   * The processes that train together, of which this is one; all of them call `train` with the same arguments. Only the
   * first reads and writes logs. An error that is not the same on all ranks must end the job: see {@link Ranks}.
   */
  readonly ranks?: Ranks | null
}

/**
 * Trains a model in a run directory.
 * @throws UsageError if the data or the directory is unusable
 * @throws RunError if the disk is full, another process trains here, or the loss stays non-finite
 */
export async function train(config: RunConfig, options: TrainOptions): Promise<TrainSummary> {
  const { directory, resume = false, checkpoint, from, ranks = null } = options
  if (checkpoint !== undefined && !resume)
    throw new UsageError(`invalid checkpoint: ${checkpoint} (expected only with resume, as the step of a checkpoint)`)
  if (resume && from) throw new UsageError('invalid from: a run that is resumed has its own weights (leave out one)')
  const { profile = false } = options
  await refuseDifferences(ranks, {
    "Choir's version": version(),
    'the configuration': hashOf(config),
    'the directory, or an option of train,': JSON.stringify({ directory, resume, checkpoint, from, profile }),
  })
  const used = await together(ranks, () => forRanks(config, ranks, resume))
  let files: RunDirectory | null = null
  let runtime: Runtime | null = null
  let isAbandoned = false
  const cleanup = new Cleanup()
  const warn = (message: string) => options.onEvent?.({ kind: 'warning', message })
  cleanup.defer(() => files?.close())
  try {
    const weights = from ? await fromFirst(ranks, () => findWeights(from, used, warn)) : null
    const saved = await fromFirst(ranks, async () => {
      files = await RunDirectory.open(directory, used, resume, weights)
      if (ranks) await recordRanks(ranks, files)
      return files.tokenizer()
    })
    if (ranks) await expectSharedFolder(ranks, directory)
    // Before the data: its threads start meanwhile.
    runtime = await openRuntime(used, options.profile, groupOf(used, ranks))
    // Also before the data, which takes longer than to find that the model does not fit.
    const memory = runtime
    const store = await together(ranks, () => createStore(memory, used, layoutOf(used, ranks)))
    const scarce = memoryWarning(runtime, store)
    if (scarce !== null) warn(scarce)
    const opened = await openData(used, options, saved)
    if (!opened) return await interruptedAtStart(used, options)
    const { data, tokenizer } = opened
    cleanup.defer(() => data.close())
    if (saved === null) await fromFirst(ranks, async () => (await files?.saveTokenizer(tokenizer)) ?? null)
    return await trainOn({ runtime, store }, data, used, options, weights, files, cleanup)
  } catch (error) {
    isAbandoned = error instanceof Abandoned
    if (isAbandoned) return await interruptedAtStart(used, options)
    ;(files as RunDirectory | null)?.discard()
    throw error
  } finally {
    try {
      await cleanup.run()
    } finally {
      // Last, since it waits until nothing is compiled any more.
      const closed = (runtime as Runtime | null)?.close()
      if (isAbandoned) void closed?.catch(() => {})
      else await closed
    }
  }
}

async function trainOn(
  { runtime, store }: { readonly runtime: Runtime; readonly store: ParameterStore },
  data: Dataset,
  config: RunConfig,
  options: TrainOptions,
  weights: WeightsSource | null,
  files: RunDirectory | null,
  cleanup: Cleanup,
): Promise<TrainSummary> {
  const { directory, resume = false, signal, profile = false, onEvent: emit = () => {}, ranks = null } = options
  const { train, model } = config
  const onProgress = (message: string) => emit({ kind: 'prepare', message })
  const warn = (message: string) => emit({ kind: 'warning', message })

  // The library and the number of threads are part of the bits of a result.
  await refuseDifferences(ranks, engineFacts(runtime))
  await fromFirst(ranks, () => recordEngine(files, engineOf(runtime)))
  for (const message of [...runNotices(runtime, config), ...frozenNotices(config)]) emit({ kind: 'notice', message })
  // Ranks wait for each other, so they stop together, before the first step.
  const abandoning = ranks ? undefined : signal
  const bandwidth = profile ? await unlessAborted(measureBandwidth(runtime), abandoning) : null
  const measure = () => (profile ? measureLargePeak(runtime) : measurePeakFlops(runtime))
  // Ranks measure at the same time, since they may share a machine.
  const ceiling = new Ceiling(async () => (await sumOverRanks(ranks, Float64Array.of(await measure())))[0] as number)
  await unlessAborted(ceiling.measure(), abandoning)
  onProgress('compiling the model')
  const separator = separatorOf(config.data, data.tokenizer)
  const compiling = Trainer.compile(runtime, config, store, separator, ranks)
  // A new run's parameters are drawn meanwhile: other threads compile.
  const drawn = resume || weights ? null : drawParameters(store, config, abandoning)
  const compressing = options.compareWithGzip ? gzipBitsPerByte(data) : null
  await unlessAborted(Promise.allSettled([compiling, drawn, compressing]), abandoning)
  const trainer = await compiling
  cleanup.defer(() => trainer.release())
  const sequences = sequencesOfPass(config)
  const state = new RunState(data, await sha256(data.tokenizer.json), store, trainer)
  const saved = new SavedState(directory, files, state, ranks)
  const report = new Reporter(config, files, ceiling, emit)
  const observer = new RankObserver(config, ranks, trainer.exchanges, { warn, observed: (of) => report.ranks(of) })

  const beginning = { config, directory, resume, checkpoint: options.checkpoint, weights, store, drawn, saved }
  const { step: fromStep, origin, copied } = await firstParameters({ ...beginning, files, ranks, emit })
  const damages = await fromFirst(ranks, async () => (await files?.rewind(fromStep)) ?? [])
  for (const message of damages) warn(message)
  const { parameters, activeParameters } = report.model
  emit({
    kind: 'start',
    directory,
    steps: train.steps,
    fromStep,
    parameters,
    activeParameters,
    trainTokens: data.train.length,
    heldOutTokens: data.heldOut.length,
    ...(compressing && { gzipBitsPerByte: await compressing }),
    peakFlops: ceiling.report().peakFlops,
    ...(origin && { from: origin }),
    ...engineOf(runtime),
  })

  const passes = train.batch / sequences
  const batches = new Batches(data, config)
  const started = performance.now()
  let evaluator: Evaluator | null = null
  cleanup.defer(() => evaluator?.release())
  let step = fromStep
  let savedAt = fromStep
  // Longer and shorter runs can continue from here, bit for bit.
  const branching = decayStart(train)
  const checkpoint = async () => {
    await trainer.settle()
    // While steps are skipped, their checkpoints may not push out those of before.
    const keep = state.nonFiniteInRow > 0 ? Number.POSITIVE_INFINITY : train.keep
    emit({ kind: 'checkpoint', step, path: await saved.save(step, keep, branching) })
    savedAt = step
  }
  // From here on the other run is not needed.
  if (copied) await checkpoint()
  batches.load(fromStep + 1)
  const warmUp = Math.min(PROFILE_WARM_UP, Math.floor((train.steps - fromStep) / 2))
  while (!(await observer.isStopped(signal)) && step < train.steps) {
    step++
    const batch = batches.of(step)
    if (profile && step === fromStep + warmUp + 1) trainer.resetProfile()
    const stepStarted = performance.now()
    const computing = trainer.step(step, batch)
    try {
      batches.load(step + 1)
      observer.report()
    } catch (error) {
      // Nothing may be released while it computes, and this failure is the one to report.
      await computing.catch(() => undefined)
      throw error
    }
    const outcome = await computing
    report.step(step, outcome, performance.now() - stepStarted)
    observer.stepDone(step, outcome)

    state.nonFiniteInRow = outcome.skipped ? state.nonFiniteInRow + 1 : 0
    if (outcome.skipped) {
      const message = await reportNonFinite(directory, step, outcome, batch, store, ranks)
      warn(message)
      if (state.nonFiniteInRow >= train.maxNonFinite) throw tooManyNonFinite(message, train.maxNonFinite)
    }
    // Not before the first step, which would wait for it, but early: a model that cannot be evaluated should fail soon.
    evaluator ??= await Evaluator.compile(runtime, model, store, sequences, train.seed, separator, ranks)
    const atEnd = step === train.steps
    if (atEnd || step % train.evalEvery === 0) {
      await trainer.settle()
      report.evaluated(step, (await evaluator.run(data, 'eval', train.evalBatches * passes)).evaluation)
      if (!ranks) await ceiling.measureIfCheap()
    }
    if (atEnd || step % train.checkpointEvery === 0 || step === branching) await checkpoint()
  }
  if (step > savedAt) await checkpoint()
  const seconds = (performance.now() - started) / 1000
  // The machine may have been busy at the start. An interrupted run ends without delay.
  if (step === train.steps) await ceiling.measure()
  const ceilingReport = ceiling.report()

  return {
    directory,
    interrupted: step < train.steps,
    step,
    tokens: report.tokens(step),
    seconds,
    ...report.speed(),
    ceiling: ceilingReport,
    last: report.last,
    evaluation: report.evaluation,
    gates: report.gates,
    ranks: observer.summary(),
    ...(bandwidth !== null && {
      profile: { ...trainer.profile(), ...engineOf(runtime), peakFlops: ceilingReport.peakFlops, bandwidth },
    }),
    ...(bandwidth !== null && { trace: trainer.lastStep() }),
  }
}

/** The run's data and its tokenizer's JSON; null if reading it was interrupted. The first rank reads it before the others. */
async function openData(
  config: RunConfig,
  { directory, resume, signal, onEvent, ranks = null }: TrainOptions,
  saved: string | null,
): Promise<{ readonly data: Dataset; readonly tokenizer: string } | null> {
  const open = async (tokenizer: string | null): Promise<Dataset | null> => {
    try {
      return await openRunData(config, {
        directory,
        onProgress: (message) => onEvent?.({ kind: 'prepare', message }),
        onNotice: (message) => onEvent?.({ kind: 'notice', message }),
        ...(tokenizer !== null && { tokenizer: tokenizerFromJson(tokenizer, join(directory, 'tokenizer.json')) }),
        ...(signal && { signal }),
      })
    } catch (error) {
      if (signal?.aborted) return null
      if (resume && error instanceof MissingText)
        throw new UsageError(
          wording`${error.wording}; if the text of the run has moved, resume with its path now: ${option('data.source', 'PATH')}`,
        )
      throw error
    }
  }
  let data: Dataset | null = null
  const tokenizer = await fromFirst(ranks, async () => {
    data = await open(saved)
    return data?.tokenizer.json ?? null
  })
  if (tokenizer !== null && ranks && ranks.rank > 0) data = await together(ranks, () => open(tokenizer))
  else if (tokenizer !== null) await together(ranks, () => null)
  const opened = data as Dataset | null
  if (await isAborted(ranks, opened && tokenizer !== null ? undefined : { aborted: true })) {
    await opened?.close()
    return null
  }
  await refuseDifferences(ranks, { 'the text': opened?.hash ?? '' })
  return { data: opened as Dataset, tokenizer: tokenizer as string }
}

const hashOf = (config: RunConfig): string =>
  createHash('sha256').update(JSON.stringify(config)).digest('hex').slice(0, 12)

/** Whether any rank has been asked to stop. */
async function isAborted(ranks: Ranks | null, signal: { readonly aborted: boolean } | undefined): Promise<boolean> {
  const own = signal?.aborted ? 1 : 0
  return (await sumOverRanks(ranks, Float64Array.of(own)))[0] !== 0
}

/** Summary if reading the text was interrupted: the run is unchanged. */
async function interruptedAtStart(
  { train, model }: RunConfig,
  { directory, resume }: TrainOptions,
): Promise<TrainSummary> {
  const step = (resume && (await newestCheckpoint(checkpointsOf(directory), () => {}))?.step) || 0
  const tokens = step * train.batch * model.sequence
  const nothing = {
    seconds: 0,
    tokensPerSecond: null,
    mfu: null,
    ceiling: null,
    last: null,
    evaluation: null,
    gates: [],
    ranks: null,
  }
  return { directory, interrupted: true, step, tokens, ...nothing }
}
