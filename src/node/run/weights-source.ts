/**
 * Finds the weights of another run, with which a new run begins (`choir train --from`), or the whole state of its
 * training (`--fork`). Checks whether they fit the new run, and records where they came from, as `from` in config.json.
 * The new run copies them into a checkpoint of its own, so it does not need the other run any more.
 */
import { readFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { differences } from '../../core/config/differences.ts'
import { isFields } from '../../core/config/fields.ts'
import type { RunConfig } from '../../core/config/run-config.ts'
import { option, RunError, UsageError, wording } from '../../core/errors.ts'
import { type TextRules, withSeparator } from '../../train/data/tokenizer/text-rules.ts'
import { refuseEndOfTraining, refuseFork } from '../../train/run/fork.ts'
import { type Origin, originIn } from '../../train/run/origin.ts'
import { refuseOtherShapes } from '../../train/run/other-shapes.ts'
import { expectSettings } from '../../train/run/resume-settings.ts'
import { expectTokenizer, parseState, type State } from '../../train/run/run-state.ts'
import { CONFIG_BYTES, readText } from '../system/read-text.ts'
import { checkpointOf, checkpointSteps, newestCheckpoint } from './checkpoint/checkpoint.ts'
import { weightsHash } from './checkpoint/weights-hash.ts'
import { loadRunConfig } from './load-config.ts'
import { readTextRules, readTokenizer } from './tokenizer-file.ts'

/** A run with whose weights a new run begins. */
export interface WeightsOf {
  /** Directory of the run. */
  readonly run: string
  /** Step of the checkpoint. Default: the newest intact checkpoint. */
  readonly checkpoint?: number | undefined
  /**
   * Whether the whole state of its training is taken over: optimizer state, step and place in the text too. Default: a
   * new training begins at step 0.
   */
  readonly fork?: boolean | undefined
}

/** Weights that were found. The object can be sent as JSON. */
export interface WeightsSource {
  readonly origin: Origin
  /** Folder of the checkpoint. */
  readonly path: string
  /** The tokenizer.json of the run. */
  readonly tokenizer: string
  /** Rules for texts, if the model was imported; null if the rules of its tokenizer hold. */
  readonly rules: TextRules | null
  /** The state in the checkpoint besides tensors, for a fork; null otherwise. */
  readonly state: State | null
}

/**
 * Finds the weights, and checks every byte of them.
 * @param config Configuration of the run that begins with the weights.
 * @param signal Signal that ends the reading; its reason is thrown.
 * @throws UsageError if there is no such run or checkpoint, or tensors have other shapes; RunError for a damaged one
 */
export async function findWeights(
  { run, checkpoint, fork = false }: WeightsOf,
  config: RunConfig,
  warn: (message: string) => void,
  signal?: AbortSignal,
): Promise<WeightsSource> {
  const as = fork ? 'fork' : 'from'
  const of = await loadSourceConfig(run, as)
  if (fork) refuseFork(run, of, config)
  else refuseOtherShapes(run, of.model, config.model)
  const folder = join(run, 'checkpoints')
  const skip = (path: string, reason: string) => warn(`skipping checkpoint ${path}: ${reason}`)
  const found =
    checkpoint === undefined
      ? await newestCheckpoint(folder, skip, { signal })
      : await checkpointOf(folder, checkpoint, { signal })
  if (!found) throw new UsageError(wording`invalid ${option(as)}: "${run}" has no checkpoint (train it first)`)
  const { path, step } = found
  if (fork) refuseEndOfTraining(run, step, await checkpointSteps(folder), config)
  const tokenizer = await readTokenizer(run)
  const state = parseState(found.state, path)
  await expectTokenizer(state, tokenizer, run)
  expectSettings(state.settings, of, run)
  const origin = {
    run: resolve(run),
    step,
    weights: await weightsHash(path),
    ...(fork && { fork }),
    differences: differences(of, config).filter(({ field }) => !ofMachine.test(field)),
  }
  const rules = await readTextRules(run)
  return { origin, path, tokenizer, rules: rules ? withSeparator(rules, tokenizer) : null, state: fork ? state : null }
}

/** Settings of the machine, which are not worth listing. */
const ofMachine = /^(runtime\.threads|data\.cache)$/

/**
 * Finds the weights that a run began with once more, if it was stopped before its first checkpoint.
 * @throws RunError if the other run does not have them any more
 */
export async function findWeightsAgain(
  directory: string,
  { run, step, weights, fork }: Origin,
  config: RunConfig,
  signal?: AbortSignal,
): Promise<WeightsSource> {
  const again = `begin it again: remove ${directory}, then choir train --${fork ? 'fork' : 'from'} RUN`
  const found = await findWeights({ run, checkpoint: step, fork }, config, () => {}, signal).catch((error: Error) => {
    if (signal?.aborted) throw error
    throw new RunError(
      `${directory} was stopped before it had copied the weights of ${run}, and now: ${error.message} (${again})`,
    )
  })
  if (found.origin.weights !== weights)
    throw new RunError(`${directory} was stopped before it had copied the weights of ${run}, which changed (${again})`)
  return found
}

/**
 * The configuration of a run with whose weights a new run begins.
 * @throws UsageError if there is no such run; the message says what to give instead
 */
export async function loadSourceConfig(run: string, as: 'from' | 'fork' = 'from'): Promise<RunConfig> {
  const step = /^step-(\d{8,})$/.exec(basename(resolve(run)))?.[1]
  if (step !== undefined && basename(dirname(resolve(run))) === 'checkpoints')
    throw new UsageError(
      wording`invalid ${option(as)}: "${run}" is a checkpoint (expected its run: ${option(as, dirname(dirname(run)))} ${option('checkpoint', step.replace(/^0+(?=.)/, ''))})`,
    )
  const stored = await readText(join(run, 'config.json'), CONFIG_BYTES).catch(() => null)
  if (stored === null || !isRun(stored))
    throw new UsageError(
      wording`invalid ${option(as)}: "${run}" is not a run (expected a run directory of Choir, with config.json and checkpoints; ${'a model in another format is imported first: choir import FOLDER --out RUN)'}`,
    )
  return loadRunConfig(run)
}

/**
 * Whether a config.json belongs to a run: other programs write files of this name too. A damaged file counts as the
 * file of a run, and is reported when it is parsed.
 */
function isRun(text: string): boolean {
  try {
    const stored: unknown = JSON.parse(text)
    return isFields(stored) && isFields(stored.model)
  } catch {
    return true
  }
}

/** The origin of the first weights of the run in a directory; null if they came from no other run. */
export async function loadOrigin(directory: string): Promise<Origin | null> {
  const stored: unknown = JSON.parse(await readFile(join(directory, 'config.json'), 'utf8'))
  return isFields(stored) ? originIn(stored) : null
}
