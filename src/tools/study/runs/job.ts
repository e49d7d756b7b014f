/** One job of a study, done in a separate process: a run from its first step to its record, a timing, or a probe. */
import { existsSync } from 'node:fs'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { median } from '../../../core/averages.ts'
import { Cleanup } from '../../../core/cleanup.ts'
import { type RunConfig, sequencesOfPass } from '../../../core/config/run-config.ts'
import { RunError } from '../../../core/errors.ts'
import { count, grouped } from '../../../core/text/numbers.ts'
import { TrainingBench } from '../../../node/measure/benchmark.ts'
import { expectPlugins } from '../../../node/run/plugins/plugins.ts'
import { RunDirectory } from '../../../node/run/run-directory.ts'
import { openRunData } from '../../../node/run/session.ts'
import { writeArm } from '../../../node/run/study-arm.ts'
import { lockRun } from '../../../node/system/lock.ts'
import { train } from '../../../node/train/train.ts'
import { trainBatch } from '../../../train/data/batches.ts'
import { separatorOf } from '../../../train/data/first-visible.ts'
import type { TrainEvent } from '../../../train/loop/events.ts'
import { isLeakMeasured, measureLeak } from '../../../train/measure/leak.ts'
import { warmupNotices } from '../../../train/run/notices.ts'
import type { EvalRecord } from '../../../train/step/metrics/records.ts'
import { evaluateRun } from '../../../use/runs/evaluate.ts'
import { loadModel } from '../../../use/runs/trained-model.ts'
import type { FinishedRun, Specialisation } from '../contract.ts'
import type { Activity } from '../events.ts'
import { noteProcess, recordOf } from '../results/record.ts'
import { specialisation } from '../specialisation/specialisation.ts'
import { type Pace, Stopwatch } from './pace.ts'
import { type ProbeJob, type ProbeResult, probe } from './probe.ts'
import { branchOff, type Trunk } from './run-folder.ts'
import { ELSEWHERE_TOKENS, LEAK_BATCHES } from './work.ts'

export interface TrainJob {
  readonly kind: 'train'
  readonly key: string
  /** The first of the arms that share the run. */
  readonly arm: string
  readonly seed: number
  readonly config: RunConfig
  readonly directory: string
  /** `Dataset.hash` of its text, and of each other text that it is evaluated on. */
  readonly corpus: string
  readonly elsewhere: Readonly<Record<string, string>>
  /** Whether the specialisation of its experts is measured too. */
  readonly specialise: boolean
  /** Whether it is a trial of a sweep, or a rung of a search, of which only the held-out loss is used. */
  readonly trial: boolean
  /** Step after which the training stops, if it is not the last step; the training can be continued. */
  readonly until?: number | undefined
  /** The checkpoint that a branch continues. If it is no longer there, the branch is trained from its start. */
  readonly trunk?: Trunk | undefined
}

export interface TimeJob {
  readonly kind: 'time'
  readonly config: RunConfig
  /** Number of steps before timing starts, and of timed steps. */
  readonly warmUp: number
  readonly steps: number
}

export type Job = TrainJob | TimeJob | ProbeJob

/** Messages that a job sends while it runs. */
export type JobUpdate =
  | {
      readonly kind: 'progress'
      readonly step: number
      readonly steps: number
      readonly loss: number | null
      readonly activity: Activity
      /** How fast the training has been in this process; null before its second step. */
      readonly pace: Pace | null
    }
  | { readonly kind: 'note'; readonly message: string }

export type JobResult =
  | { readonly kind: 'record'; readonly record: FinishedRun; readonly specialisation: Specialisation | null }
  | { readonly kind: 'timing'; readonly stepMs: number; readonly engine: string }
  | ProbeResult
  /** The signal stopped the job; a training can be continued. */
  | { readonly kind: 'stopped' }

/** Number of attempts, one per second, to lock a run that another process may still be saving. */
const LOCK_TRIES = 60

/** Longest time between two messages about the steps of a training. */
const UPDATE_MS = 2000

export function runJob(job: Job, signal: AbortSignal, onUpdate: (update: JobUpdate) => void): Promise<JobResult> {
  if (job.kind === 'train') return runTraining(job, signal, onUpdate)
  return job.kind === 'time' ? runTiming(job, signal) : runProbe(job, signal)
}

const runProbe = async ({ config }: ProbeJob, signal: AbortSignal): Promise<JobResult> =>
  (await probe(config, signal)) ?? { kind: 'stopped' }

async function runTraining(
  job: TrainJob,
  signal: AbortSignal,
  onUpdate: (update: JobUpdate) => void,
): Promise<JobResult> {
  const { config, directory, key, seed, corpus } = job
  const steps = job.until ?? config.train.steps
  const threads = config.runtime.threads ?? 1
  // To the training, the end of its budget is a request to stop: it saves, and continues bit for bit in the next rung.
  const budget = new AbortController()
  let isBeyond = false
  const watch = new Stopwatch()
  let place: { step: number; loss: number | null } = { step: 0, loss: null }
  let updatedAt = Number.NEGATIVE_INFINITY
  const update = (activity: Activity) => {
    updatedAt = performance.now()
    onUpdate({ kind: 'progress', ...place, steps, activity, pace: watch.pace })
  }
  const { evalEvery, evalBatches } = config.train
  // All held-out text is evaluated below. Evaluations during training that read a part of it end with one of that part, so
  // that the curve of a run has its end; otherwise the evaluation below is that end.
  const evaluatesLast = steps === config.train.steps && evalBatches > 0 && !job.trial
  const onEvent = (event: TrainEvent) => {
    watch.event(event)
    if (event.kind === 'start') {
      noteProcess(directory, engineName(event))
      writeArm(directory, job.arm)
      isBeyond = event.fromStep > steps
      if (event.fromStep >= steps && !evaluatesLast) budget.abort()
    }
    if (event.kind === 'train' && event.step === steps && !evaluatesLast) budget.abort()
    if (event.kind === 'train') {
      place = { step: event.step, loss: event.loss }
      const isEvaluated = event.step % evalEvery === 0 || event.step === config.train.steps
      const isLate = performance.now() - updatedAt >= UPDATE_MS
      if (isEvaluated || event.step % 10 === 0 || event.step === steps || isLate)
        update(isEvaluated ? 'evaluation' : 'training')
    }
    if (event.kind === 'eval') {
      update('training')
      if (watch.total.evaluations > watch.total.steps && event.step > evalEvery)
        onUpdate({ kind: 'note', message: longEvaluations(config, event.evaluated_tokens) })
    }
    // The study has one note about warm-ups, for all of its runs.
    const isNoted = event.kind === 'notice' && warmupNotices(config).includes(event.message)
    if ((event.kind === 'notice' || event.kind === 'warning') && !isNoted)
      onUpdate({ kind: 'note', message: event.message })
  }
  let resume = await hasCheckpoint(directory, signal)
  if (!resume) await rm(directory, { recursive: true, force: true })
  if (!resume && job.trunk) {
    const problem = await branchOff(job.trunk, directory)
    if (problem !== null) onUpdate({ kind: 'note', message: `${problem}, so it is trained from its start` })
    resume = problem === null
  }
  const options = { directory, signal: AbortSignal.any([signal, budget.signal]), onEvent }
  const summary = await train(config, { ...options, resume })
  if (isBeyond) {
    // The result of an earlier rung was lost after a later rung had replaced its checkpoint, so the run starts again.
    await rm(directory, { recursive: true, force: true })
    return runTraining(job, signal, onUpdate)
  }
  if (summary.step < steps) return { kind: 'stopped' }

  update('evaluation')
  const evaluatedAt = performance.now()
  const heldOut = await evaluateRun(directory, { capacity: 'eval', byDocument: !job.trial })
  watch.evaluated((performance.now() - evaluatedAt) / 1000, heldOut.evaluated_tokens)
  if (!job.trial) await logEvaluation(directory, config, heldOut)
  const elsewhere: Record<string, EvalRecord> = {}
  const batch = sequencesOfPass(config) * config.model.sequence
  for (const source of Object.keys(job.elsewhere)) {
    if (signal.aborted) return { kind: 'stopped' }
    const batches = Math.ceil(ELSEWHERE_TOKENS / batch)
    const { domains: _, ...record } = await evaluateRun(directory, { source, batches, capacity: 'eval' })
    elsewhere[source] = record
  }
  const leak = job.trial ? { train: null, eval: null } : await leakOf(directory)
  const facts = { key, seed, config, corpus, heldOut, elsewhere, elsewhereCorpora: job.elsewhere, leak }
  const record = await recordOf(directory, facts, steps)
  if (job.specialise) update('specialisation')
  return {
    kind: 'record',
    record: job.trial ? { ...record, layers: [] } : record,
    specialisation: job.specialise ? await specialisation(directory, { arm: '', threads }) : null,
  }
}

/**
 * Adds the evaluation of all held-out text to the log of a run whose training has made none after its last step. So the
 * dashboard and the curves of the report have the end of every run.
 */
async function logEvaluation(directory: string, config: RunConfig, evaluation: EvalRecord): Promise<void> {
  const { documents: _, domains: __, ...record } = evaluation
  const { step } = record
  const files = await RunDirectory.open(directory, config, true)
  try {
    await files.logs.rewind(step)
    // The training has made it, or a study that was killed before it kept the result.
    if (await files.logs.hasEvaluation(step)) return
    files.logs.record('eval', step, record)
    await files.logs.flush()
  } finally {
    await files.close()
  }
}

/**
 * A note that names the settings of evaluations during training, if these take longer than the steps. It is equal for
 * all seeds of an arm.
 */
function longEvaluations({ train }: RunConfig, tokens: number): string {
  const { evalEvery, evalBatches } = train
  const every = `every ${grouped(evalEvery)} steps (train.evalEvery) on ${count(tokens)} held-out tokens`
  const cap = evalBatches === 0 ? 'all of them, since train.evalBatches is 0' : `train.evalBatches: ${evalBatches}`
  return `evaluations during training take longer than its steps: they are made ${every} (${cap}); a smaller train.evalBatches or a larger train.evalEvery shortens them`
}

/** Measures the step time on real text, after warm-up steps in which routing settles. */
async function runTiming({ config, warmUp, steps }: TimeJob, signal: AbortSignal): Promise<JobResult> {
  await expectPlugins(config, 'a timed arm')
  const data = await openRunData(config, { onProgress: () => {} })
  try {
    const shape = { batch: config.train.batch, sequence: config.model.sequence }
    const size = shape.batch * shape.sequence
    const batch = { tokens: new Int32Array(size), targets: new Int32Array(size) }
    const bench = await TrainingBench.open(config, false, (step) => {
      trainBatch(data.train, shape, config.data.order ?? config.data.seed, step - 1, batch)
      return batch
    })
    try {
      await bench.run(warmUp, signal)
      const timed = await bench.run(steps, signal)
      if (signal.aborted || timed.length === 0) return { kind: 'stopped' }
      return { kind: 'timing', stepMs: median(timed.map(({ ms }) => ms)), engine: engineName(bench.result(timed)) }
    } finally {
      await bench.close()
    }
  } finally {
    await data.close()
  }
}

const engineName = (engine: { provider: string; math: string; threads: number }): string =>
  `${engine.provider}, ${engine.math}, ${engine.threads} ${engine.threads === 1 ? 'thread' : 'threads'}`

/** Whether a run can be continued. A process of a killed study may still be saving it, so wait for its lock. */
async function hasCheckpoint(directory: string, signal: AbortSignal): Promise<boolean> {
  for (let tries = 0; tries < LOCK_TRIES && !signal.aborted; tries++) {
    if (!existsSync(directory)) return false
    try {
      const lock = await lockRun(directory)
      await lock.release()
      break
    } catch (error) {
      if (!(error instanceof RunError) || tries === LOCK_TRIES - 1) throw error
      await delay(1000)
    }
  }
  const names = await readdir(join(directory, 'checkpoints')).catch((): string[] => [])
  return names.some((name) => name.startsWith('step-'))
}

/**
 * How much later tokens lower the loss of earlier tokens in a trained run, at the capacity of training and of
 * evaluation.
 */

/**
 * The gain from later tokens in nats a token, at the capacity of training and of evaluation, for the newest checkpoint
 * of a run; null if the model sees no later token of its own text. A router or a layer of the user's own that sees later
 * tokens and denies it is found here.
 */
async function leakOf(directory: string): Promise<FinishedRun['leak']> {
  const cleanup = new Cleanup()
  try {
    const trained = await loadModel(directory, {}, () => {})
    cleanup.defer(() => trained.close())
    const { runtime, config, tokenizer, store } = trained
    const { train, model } = config
    const batch = sequencesOfPass(config)
    if (!isLeakMeasured(model, 'train', batch) && !isLeakMeasured(model, 'eval', batch))
      return { train: null, eval: null }
    const data = await openRunData(config, { tokenizer, onProgress: () => {} })
    cleanup.defer(() => data.close())
    const options = { batch, limit: LEAK_BATCHES, seed: train.seed, separator: separatorOf(config.data, tokenizer) }
    const gain = (rule: 'train' | 'eval') => measureLeak(runtime, model, store, data, { ...options, rule })
    return { train: await gain('train'), eval: await gain('eval') }
  } finally {
    await cleanup.run()
  }
}
