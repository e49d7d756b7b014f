/**
 * A probe: the first steps of a real training, with an evaluation, a checkpoint and the logs, in a temporary folder that
 * is removed in the end. It runs in a process of its own, as the runs of a study do, so it also measures how long a
 * process takes to start.
 */
import { rmSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type RunConfig, sequencesOfPass } from '../../../core/config/run-config.ts'
import { checkpointsOf } from '../../../node/run/run-directory.ts'
import { makeTemporaryFolder, sweepLeftovers } from '../../../node/system/temporary-folders.ts'
import { train } from '../../../node/train/train.ts'
import type { TrainEvent } from '../../../train/loop/events.ts'
import { warmupNotices } from '../../../train/run/notices.ts'
import { evaluateRun } from '../../../use/runs/evaluate.ts'
import { type Pace, Stopwatch } from './pace.ts'

/** A probe trains for this time, or for two steps if they take longer, or for the number of steps below. */
export const PROBE_SECONDS = 5
const PROBE_STEPS = 40

/** Steps between the evaluations of a probe, each of a batch. */
const EVALUATE_EVERY = 2

export interface ProbeJob {
  readonly kind: 'probe'
  readonly config: RunConfig
}

export interface ProbeResult {
  readonly kind: 'probe'
  readonly pace: Pace
  readonly bytes: RunBytes
  /** Notices and warnings of the training, without the notice of a long warm-up, which the study has for all arms. */
  readonly messages: readonly string[]
}

/** Disk space of a run directory. */
export interface RunBytes {
  readonly checkpoint: number
  /** Files that do not grow, such as the tokenizer. */
  readonly fixed: number
  /** Logs by step, and the record of routing at one step. */
  readonly step: number
  readonly routing: number
}

/** Trains the first steps of a configuration. Returns null if `signal` stopped it before it had measured something. */
export async function probe(config: RunConfig, signal: AbortSignal): Promise<ProbeResult | null> {
  const root = tmpdir()
  // A process that was killed cannot remove its folder.
  await sweepLeftovers(root)
  const folder = await makeTemporaryFolder(root, 'scratch')
  const remove = () => rmSync(folder, { recursive: true, force: true })
  // A second Ctrl-C ends the process at once.
  process.once('exit', remove)
  try {
    return await probeIn(join(folder, 'run'), config, signal)
  } finally {
    remove()
    process.off('exit', remove)
  }
}

async function probeIn(directory: string, given: RunConfig, signal: AbortSignal): Promise<ProbeResult | null> {
  const config = probed(given)
  const watch = new Stopwatch()
  const enough = new AbortController()
  const messages = new Set<string>()
  let steps = 0
  let firstAt = 0
  const onEvent = (event: TrainEvent) => {
    watch.event(event)
    // Arms that share a probe may have other steps and another warm-up.
    const isNoted = event.kind === 'notice' && warmupNotices(config).includes(event.message)
    if ((event.kind === 'notice' || event.kind === 'warning') && !isNoted) messages.add(event.message)
    if (event.kind === 'train') {
      steps = event.step
      if (steps === 1) firstAt = performance.now()
    }
    const isLate = performance.now() - firstAt >= PROBE_SECONDS * 1000
    if (event.kind === 'eval' && (isLate || steps >= PROBE_STEPS)) enough.abort()
  }
  await train(config, { directory, signal: AbortSignal.any([signal, enough.signal]), onEvent })
  const trained = watch.pace
  const evaluated = signal.aborted || trained === null ? null : await timeEvaluations(directory, config, signal)
  if (evaluated === null || trained === null) return null
  const { load, token } = evaluated
  // The evaluations of the probe have one batch.
  const rest = ((trained.evaluatedToken ?? token) - token) * config.train.batch * config.model.sequence
  const pace = { ...trained, load, evaluatedToken: token, evaluation: Math.max(0, rest) }
  return { kind: 'probe', pace, bytes: await bytesOf(directory, steps), messages: [...messages] }
}

/** Passes of the evaluations of which the time is compared with that of one pass. */
const PASSES = [8, 64, 512]

/**
 * Seconds to load the finished training for an evaluation, and seconds of a token; null if `signal` stopped it. Loading
 * may take longer than many passes, so the time of a token is the difference of two evaluations: of one pass, and of so
 * many that they take twice as long.
 */
async function timeEvaluations(
  directory: string,
  config: RunConfig,
  signal: AbortSignal,
): Promise<{ readonly load: number; readonly token: number } | null> {
  const evaluate = async (batches: number) => {
    const started = performance.now()
    const { evaluated_tokens: tokens } = await evaluateRun(directory, { batches, capacity: 'eval', byDocument: true })
    return { tokens, seconds: (performance.now() - started) / 1000 }
  }
  // The first is the one that a run of the study makes; later ones find compiled code.
  const first = await evaluate(1)
  if (signal.aborted) return null
  const one = await evaluate(1)
  let many = one
  for (const passes of PASSES) {
    if (signal.aborted) return null
    many = await evaluate(passes)
    const isAll = many.tokens < passes * sequencesOfPass(config) * config.model.sequence
    if (isAll || many.seconds >= 2 * one.seconds) break
  }
  return costsOf(first, one, many)
}

interface TimedEvaluation {
  readonly tokens: number
  readonly seconds: number
}

/** @param first The first evaluation of a process. @param many Later ones, of few and of many tokens. */
export function costsOf(first: TimedEvaluation, one: TimedEvaluation, many: TimedEvaluation) {
  const added = many.tokens - one.tokens
  const token = added > 0 ? Math.max(0, many.seconds - one.seconds) / added : one.seconds / one.tokens
  return { load: Math.max(0, first.seconds - first.tokens * token), token }
}

/** The training with evaluations of a batch after a few steps, and no checkpoint until it is stopped. */
function probed(config: RunConfig): RunConfig {
  const steps = Math.max(config.train.steps, EVALUATE_EVERY)
  const train = { ...config.train, steps, evalEvery: EVALUATE_EVERY, evalBatches: 1, routingEvery: 1 }
  return { ...config, train: { ...train, checkpointEvery: steps } }
}

async function bytesOf(directory: string, steps: number): Promise<RunBytes> {
  const sizes = { checkpoint: 0, fixed: 0, logs: 0, routing: 0 }
  const checkpoints = checkpointsOf(directory)
  // With the schedule `wsd` there may be another checkpoint, from the start of the decay.
  const [checkpoint = ''] = (await readdir(checkpoints)).toSorted().reverse()
  for (const name of await readdir(join(checkpoints, checkpoint)))
    sizes.checkpoint += (await stat(join(checkpoints, checkpoint, name))).size
  for (const name of await readdir(directory)) {
    const entry = await stat(join(directory, name))
    if (!entry.isFile()) continue
    if (name === 'routing.jsonl') sizes.routing += entry.size
    else if (name === 'metrics.jsonl' || name.includes('.tfevents.')) sizes.logs += entry.size
    else sizes.fixed += entry.size
  }
  return { checkpoint: sizes.checkpoint, fixed: sizes.fixed, step: sizes.logs / steps, routing: sizes.routing / steps }
}
