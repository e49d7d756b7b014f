/** The steps of a training before its loop: run directory, memory, program, and the parameters with which it begins. */
import type { RunConfig } from '../../core/config/run-config.ts'
import { engineOf } from '../../engine/contract/engine.ts'
import { sumOverRanks } from '../../engine/contract/ranks.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import { memoryWarning } from '../../train/loop/memory.ts'
import { compileTraining } from '../../train/loop/program.ts'
import { measureBandwidth } from '../../train/measure/bandwidth.ts'
import { Ceiling } from '../../train/measure/mfu.ts'
import { measurePeakFlops } from '../../train/measure/peak.ts'
import { fromFirst, refuseDifferences, together } from '../../train/run/agreement.ts'
import { trainingNotices } from '../../train/run/notices.ts'
import type { Origin } from '../../train/run/origin.ts'
import { checkOptimizer } from '../../train/step/optimizer/own-rule.ts'
import { checkRates } from '../../train/step/optimizer/own-schedule.ts'
import { traceOwnParts } from '../../train/step/own-parts.ts'
import { initialize, initialScales } from '../../train/step/store/initialize.ts'
import type { ParameterStore } from '../../train/step/store/store.ts'
import { createStore, layoutOf } from '../../train/step/trainer.ts'
import { gzipBitsPerByte } from '../data/gzip.ts'
import { measureLargePeak } from '../measure/machine.ts'
import { expectPlugins, unkeptPlugins } from '../run/plugins/plugins.ts'
import { RANKS_FILE, ranksText } from '../run/ranks/files.ts'
import { RunDirectory } from '../run/run-directory.ts'
import { SavedState } from '../run/saved-state.ts'
import { openRuntime } from '../run/session.ts'
import { findWeights, findWeightsAgain, loadOrigin, type WeightsSource } from '../run/weights-source.ts'
import { agreedConfig, engineFacts, expectSharedFolder, groupOf, localPlace } from './layout.ts'
import type { TrainingText } from './open-data.ts'
import type { TrainOptions } from './options.ts'
import { Training } from './training.ts'

/** Checks the configuration and the options; nothing is opened yet. @throws UsageError if they do not fit each other */
export async function checkedTraining(given: RunConfig, options: TrainOptions): Promise<Training> {
  await expectPlugins(given, `the run ${options.directory}`, options.directory)
  for (const message of unkeptPlugins([given])) options.onEvent?.({ kind: 'warning', message })
  checkRates(given.train)
  checkOptimizer(given)
  return new Training(await agreedConfig(given, options), options)
}

/** What the run directory has, or another run whose weights a new run begins with. */
export interface OpenedRun {
  readonly weights: WeightsSource | null
  /** The run's tokenizer.json; null if the run has none yet. */
  readonly tokenizer: string | null
}

/** Finds the weights of another run if the run begins with them, and opens the run directory on the first rank. */
export async function openRun(training: Training): Promise<OpenedRun> {
  const { config, options, ranks, warn } = training
  const { directory, resume = false, from, checkpoint } = options
  const weights = from ? await fromFirst(ranks, () => findWeights(from, config, warn, training.abandoning)) : null
  const tokenizer = await fromFirst(ranks, async () => {
    training.files = await RunDirectory.open(directory, config, resume, weights, checkpoint)
    if (ranks) await training.files.write(RANKS_FILE, ranksText(ranks.roster))
    return training.files.tokenizer()
  })
  if (ranks) await expectSharedFolder(ranks, directory)
  return { weights, tokenizer }
}

export interface Memory {
  readonly runtime: Runtime
  readonly store: ParameterStore
}

/**
 * Opens the runtime and the memory of the model. Both come before the data: the threads of the runtime start meanwhile,
 * and opening the data takes longer than finding that the model does not fit.
 */
export async function openMemory(training: Training): Promise<Memory> {
  const { config, options, ranks, warn } = training
  const runtime = await together(ranks, async () => {
    const gpu = { index: options.gpu, place: localPlace(ranks) }
    training.runtime = await openRuntime(config, options.profile, groupOf(config, ranks), gpu)
    return training.runtime
  })
  const store = await together(ranks, () => {
    const created = createStore(runtime, config, layoutOf(config, ranks))
    traceOwnParts(runtime, config, created)
    return created
  })
  const scarce = memoryWarning(runtime, store)
  if (scarce !== null) warn(scarce)
  return { runtime, store }
}

/** The compiled training, the drawing of its initial parameters, and the measurements before its first step. */
export type Prepared = Awaited<ReturnType<typeof prepareProgram>>

/** Compiles the training. The parameters of a new run are drawn while other threads compile. */
export async function prepareProgram(
  training: Training,
  { weights }: OpenedRun,
  { runtime, store }: Memory,
  { data, replay }: TrainingText,
) {
  const { config, options, ranks, emit, files, abandoning } = training
  const { resume, profile = false, compareWithGzip } = options
  // The library and the number of threads are part of the bits of a result.
  await refuseDifferences(ranks, engineFacts(runtime))
  await fromFirst(ranks, () => files?.write('engine.json', `${JSON.stringify(engineOf(runtime))}\n`))
  for (const message of trainingNotices(runtime, config)) emit({ kind: 'notice', message })
  /** Bytes per second. */
  const bandwidth = profile ? await training.unlessAborted(measureBandwidth(runtime)) : null
  // All ranks measure the matmul rate at the same time, since they may share a machine.
  const ceiling = new Ceiling(async () => {
    const rate = await (profile ? measureLargePeak(runtime) : measurePeakFlops(runtime))
    return (await sumOverRanks(ranks, Float64Array.of(rate)))[0] as number
  })
  await training.unlessAborted(ceiling.measure())
  emit({ kind: 'prepare', message: 'compiling the model' })
  const compiling = compileTraining({ runtime, config, data, store, ranks, replay })
  const drawn = resume || weights ? null : drawParameters(training, store, abandoning)
  const compressing = compareWithGzip ? gzipBitsPerByte(data) : null
  await training.unlessAborted(Promise.allSettled([compiling, drawn, compressing]))
  const program = await compiling
  training.cleanup.defer(() => program.trainer.release())
  return { program, bandwidth, ceiling, drawn, compressing }
}

const drawParameters = ({ config }: Training, store: ParameterStore, signal?: AbortSignal): Promise<void> =>
  initialize(store, config.train.seed, initialScales(config), signal)

/** Where the loop of a training begins. */
export interface Beginning {
  readonly saved: SavedState
  /** Step of the checkpoint that is continued or forked from, or 0. */
  readonly step: number
  /** Origin of the first weights of the run; null if they do not come from another run. */
  readonly origin: Origin | null
  /** Whether the parameters were copied from another run and are in no checkpoint of this run yet. */
  readonly copied: boolean
}

/**
 * Restores a resumed run and records its changed settings, copies the weights or the state of another run, or draws
 * initial parameters. Then writes the tokenizer of a new run and takes the logs of a resumed one back to its step.
 * @throws UsageError if the text is not the text of the run; RunError if no checkpoint is intact, or weights are gone
 */
export async function beginAtStep(
  training: Training,
  run: OpenedRun,
  { store }: Memory,
  { data }: TrainingText,
  { program, drawn }: Prepared,
): Promise<Beginning> {
  const { files, ranks, warn } = training
  const saved = new SavedState(training.options.directory, files, program.state, ranks, training.abandoning)
  const beginning = await firstParameters(training, run, saved, store, drawn)
  // The tokenizer and logs are not written before this point, because a run that is refused stays as it is.
  if (run.tokenizer === null) await fromFirst(ranks, () => files?.saveTokenizer(data.tokenizer.json))
  const damages = await fromFirst(ranks, () => files?.logs.rewind(beginning.step))
  for (const message of damages ?? []) warn(message)
  return { saved, ...beginning }
}

async function firstParameters(
  training: Training,
  run: OpenedRun,
  saved: SavedState,
  store: ParameterStore,
  drawn: Promise<void> | null,
): Promise<Omit<Beginning, 'saved'>> {
  const { config, files, ranks, emit, warn } = training
  const { directory, resume, checkpoint } = training.options
  const begin = (message: string) => emit({ kind: 'prepare', message })
  const found = resume ? await saved.restore(checkpoint, warn) : null
  await fromFirst(ranks, () => files?.adopt(found !== null))
  const recorded = resume ? await fromFirst(ranks, () => loadOrigin(directory)) : null
  if (found) {
    begin(`continuing from ${found.path}`)
    const warning = files?.warningAt(found.step) ?? null
    if (warning !== null) warn(warning)
    return { step: found.step, origin: recorded, copied: false }
  }
  const again = recorded && (() => findWeightsAgain(directory, recorded, config, training.abandoning))
  const weights = run.weights ?? (again && (await fromFirst(ranks, again)))
  if (!weights) {
    begin('initial parameters')
    await (drawn ?? drawParameters(training, store))
    return { step: 0, origin: null, copied: false }
  }
  const origin = recorded ?? weights.origin
  if (weights.state) {
    begin(`forking from ${weights.path}`)
    await saved.readFork(weights.path, weights.state)
    return { step: weights.origin.step, origin, copied: true }
  }
  begin(`weights of ${weights.path}`)
  await saved.readWeights(weights.path)
  return { step: 0, origin, copied: true }
}
