/**
 * Training in a run directory, from top to bottom:
 *
 *   configuration · run directory · runtime · memory · data · program · parameters · loop · report
 *
 * Everything that later steps depend on is in the checkpoint or follows from the configuration and the
 * step number, so a run killed at any instant can continue bit for bit. The step itself, evaluations and the rule about
 * steps that are not finite are the same as for a training in a page: src/train/loop/training-loop.ts.
 */
import { Cleanup } from '../../core/cleanup.ts'
import type { RunConfig } from '../../core/config/run-config.ts'
import { engineOf } from '../../engine/contract/engine.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import type { TrainSummary } from '../../train/loop/events.ts'
import { memoryWarning } from '../../train/loop/memory.ts'
import { compileTraining } from '../../train/loop/program.ts'
import { runToEnd } from '../../train/loop/run-to-end.ts'
import { TrainingLoop } from '../../train/loop/training-loop.ts'
import { measureBandwidth } from '../../train/measure/bandwidth.ts'
import { fromFirst, refuseDifferences, together } from '../../train/run/agreement.ts'
import { trainingNotices } from '../../train/run/notices.ts'
import { checkOptimizer } from '../../train/step/optimizer/own-rule.ts'
import { checkRates } from '../../train/step/optimizer/own-schedule.ts'
import { decayStart } from '../../train/step/optimizer/schedule.ts'
import { traceOwnParts } from '../../train/step/own-parts.ts'
import { createStore, layoutOf } from '../../train/step/trainer.ts'
import { gzipBitsPerByte } from '../data/gzip.ts'
import { expectPlugins, unkeptPlugins } from '../run/plugins/plugins.ts'
import { RANKS_FILE, ranksText } from '../run/ranks/files.ts'
import { RunDirectory } from '../run/run-directory.ts'
import { SavedState } from '../run/saved-state.ts'
import { openRuntime } from '../run/session.ts'
import { findWeights } from '../run/weights-source.ts'
import { Abandoned, unlessAborted } from './abandon.ts'
import { drawParameters, firstParameters } from './first-parameters.ts'
import { agreedConfig, engineFacts, expectSharedFolder, groupOf, localPlace, recordEngine } from './layout.ts'
import { saveBatch } from './non-finite.ts'
import { openData } from './open-data.ts'
import { openReplay } from './open-replay.ts'
import type { TrainOptions } from './options.ts'
import { Profiling, trainingCeiling } from './profiling.ts'
import { interruptedAtStart, summaryOf } from './summary.ts'

/**
 * Trains a model in a run directory.
 * @throws UsageError if the data or the directory is unusable
 * @throws RunError if the disk is full, another process trains here, or the loss stays non-finite
 */
export async function train(given: RunConfig, options: TrainOptions): Promise<TrainSummary> {
  const { directory, resume = false, from, signal, ranks = null, onEvent: emit = () => {} } = options
  const warn = (message: string) => emit({ kind: 'warning', message })
  await expectPlugins(given, `the run ${directory}`, directory)
  for (const message of unkeptPlugins([given])) warn(message)
  checkRates(given.train)
  checkOptimizer(given)
  const config = await agreedConfig(given, options)
  /** These are closed in the end, the runtime last, because closing it waits until nothing is compiled any more. */
  const open: { files: RunDirectory | null; runtime: Runtime | null } = { files: null, runtime: null }
  let isAbandoned = false
  const cleanup = new Cleanup()
  cleanup.defer(() => closeRuntime(open.runtime, isAbandoned))
  cleanup.defer(() => open.files?.close())
  try {
    // Run directory
    // Ranks wait for each other, so none abandons work: they stop together, before the first step.
    const abandoning = ranks ? undefined : signal
    const weights = from ? await fromFirst(ranks, () => findWeights(from, config, warn, abandoning)) : null
    const tokenizer = await fromFirst(ranks, async () => {
      open.files = await RunDirectory.open(directory, config, resume, weights, options.checkpoint)
      if (ranks) await open.files.write(RANKS_FILE, ranksText(ranks.roster))
      return open.files.tokenizer()
    })
    const { files } = open
    if (ranks) await expectSharedFolder(ranks, directory)

    // Runtime, before the data: its threads start meanwhile.
    const runtime = await together(ranks, async () => {
      const gpu = { index: options.gpu, place: localPlace(ranks) }
      open.runtime = await openRuntime(config, options.profile, groupOf(config, ranks), gpu)
      return open.runtime
    })

    // Memory, also before the data: opening the data takes longer than finding that the model does not fit.
    const store = await together(ranks, () => {
      const created = createStore(runtime, config, layoutOf(config, ranks))
      traceOwnParts(runtime, config, created)
      return created
    })
    const scarce = memoryWarning(runtime, store)
    if (scarce !== null) warn(scarce)

    // Data
    const data = await openData(config, options, tokenizer)
    if (!data) return await interruptedAtStart(config, options)
    cleanup.defer(() => data.close())
    const replay = await openReplay(config, data, options)

    // Program. The library and the number of threads are part of the bits of a result.
    await refuseDifferences(ranks, engineFacts(runtime))
    await fromFirst(ranks, () => recordEngine(files, engineOf(runtime)))
    for (const message of trainingNotices(runtime, config)) emit({ kind: 'notice', message })
    const bandwidth = options.profile ? await unlessAborted(measureBandwidth(runtime), abandoning) : null
    const ceiling = trainingCeiling(runtime, options)
    await unlessAborted(ceiling.measure(), abandoning)
    emit({ kind: 'prepare', message: 'compiling the model' })
    const compiling = compileTraining({ runtime, config, data, store, ranks, replay })
    // The parameters of a new run are drawn while other threads compile.
    const drawn = resume || weights ? null : drawParameters(store, config, abandoning)
    const compressing = options.compareWithGzip ? gzipBitsPerByte(data) : null
    await unlessAborted(Promise.allSettled([compiling, drawn, compressing]), abandoning)
    const program = await compiling
    const { trainer } = program
    cleanup.defer(() => trainer.release())

    // Parameters
    const saved = new SavedState(directory, files, program.state, ranks, abandoning)
    const { checkpoint } = options
    const beginning = { config, directory, resume, checkpoint, weights, store, drawn, saved, files, ranks, emit }
    const { step: fromStep, origin, copied } = await firstParameters({ ...beginning, signal: abandoning })
    // The tokenizer and logs are not written before this point, because a run that is refused stays as it is.
    if (tokenizer === null)
      await fromFirst(ranks, async () => (await files?.saveTokenizer(data.tokenizer.json)) ?? null)
    const damages = await fromFirst(ranks, async () => (await files?.logs.rewind(fromStep)) ?? [])
    for (const message of damages) warn(message)

    // Loop
    const loop = new TrainingLoop(program, ceiling, fromStep, {
      log: files?.logs ?? null,
      emit,
      keepBatch: (skipped) => saveBatch(directory, skipped, ranks),
      save: (step, { keep, spared }) => saved.save(step, keep, spared),
    })
    cleanup.defer(() => loop.release())
    const { parameters, activeParameters } = loop.report.model
    emit({
      kind: 'start',
      directory,
      steps: config.train.steps,
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
    const profiling = bandwidth === null ? null : new Profiling(trainer, bandwidth, loop.steps, config.train.steps)
    const save = async () => emit({ kind: 'checkpoint', step: loop.steps, path: await loop.checkpoint() })
    const started = performance.now()
    // Once the copied weights are saved, the other run is not needed any more.
    if (copied) await save()
    const { state } = program
    const wasDue = state.evaluationDue
    if (wasDue) {
      state.evaluationDue = !(await fromFirst(ranks, async () => (await files?.logs.hasEvaluation(fromStep)) ?? false))
      if (state.evaluationDue) {
        await unlessAborted(loop.compileEvaluation(), abandoning)
        await loop.evaluate(signal)
      }
    }
    if (!loop.isFinished && !abandoning?.aborted) await unlessAborted(loop.testSight(), abandoning)
    await runToEnd(
      config,
      {
        done: () => loop.steps,
        isStopped: () => loop.isStopped(signal),
        step: async () => {
          profiling?.beforeStep(loop.steps + 1)
          await loop.step()
          // Evaluation is compiled after the first step, which would otherwise wait for it, but no later, because a
          // model that cannot be evaluated should fail soon.
          if (abandoning?.aborted) return
          await unlessAborted(loop.compileEvaluation(), abandoning).catch((error) => {
            isAbandoned = error instanceof Abandoned
            if (!isAbandoned) throw error
          })
        },
        evaluate: async () => {
          await loop.evaluate(signal)
          if (!ranks && !signal?.aborted) await ceiling.measureIfCheap()
        },
        checkpoint: save,
      },
      // Longer and shorter runs can continue from this step, bit for bit.
      decayStart(config.train),
    )
    // The last checkpoint may still say that an evaluation is due, although it has been made since.
    if (wasDue && !state.evaluationDue && loop.steps === fromStep) await save()
    const seconds = (performance.now() - started) / 1000

    // Report. The machine may have been busy at the start. An interrupted run ends without delay.
    if (loop.isComplete) await ceiling.measure()
    return {
      ...summaryOf(directory, loop, seconds, ceiling.report()),
      ...profiling?.results(runtime, ceiling.report()),
    }
  } catch (error) {
    isAbandoned = error instanceof Abandoned
    if (isAbandoned || (signal?.aborted && error === signal.reason)) return await interruptedAtStart(config, options)
    open.files?.discard()
    throw error
  } finally {
    await cleanup.run()
  }
}

/** Closes the runtime. @param isAbandoned Whether work that it still computes is left to end by itself. */
async function closeRuntime(runtime: Runtime | null, isAbandoned: boolean): Promise<void> {
  const closed = runtime?.close()
  if (isAbandoned) void closed?.catch(() => {})
  else await closed
}
