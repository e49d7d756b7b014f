/** Training for callers of the library. Their arguments are checked, and do not change while the training uses them. */
import { z } from 'zod'
import { type Fields, isFields } from '../../core/config/fields.ts'
import { abortSignal, callback, checkOptions, expectPath, type Live, object } from '../../core/config/options.ts'
import { frozen } from '../../core/config/plain.ts'
import { parseInput } from '../../core/config/problems.ts'
import { type RunConfig, runSchema } from '../../core/config/run-config.ts'
import { UsageError } from '../../core/errors.ts'
import { type PluginKind, type PluginOf, pluginKinds, withPlugin } from '../../node/run/plugins/kinds.ts'
import { loadPlugin, usePlugin } from '../../node/run/plugins/plugins.ts'
import type { TrainOptions as CommonOptions } from '../../node/train/options.ts'
import { type ClosableRanks, type JoinOptions, joinRanks as joinAll } from '../../node/train/ranks.ts'
import { train as trainRun } from '../../node/train/train.ts'
import type { TrainSummary } from '../../train/loop/events.ts'
import { eitherSignal, listening } from './listening.ts'

const plain = {
  directory: z.string().min(1),
  resume: z.boolean().optional(),
  checkpoint: z.int().nonnegative().optional(),
  from: z
    .strictObject({
      run: z.string().min(1),
      checkpoint: z.int().nonnegative().optional(),
      fork: z.boolean().optional(),
    })
    .optional(),
  profile: z.boolean().optional(),
  compareWithGzip: z.boolean().optional(),
  gpu: z.int().nonnegative().optional(),
}

/** Parts of your own in place of the parts that the configuration names. */
type OwnParts = { readonly [K in PluginKind]: PluginOf<K> | string | undefined }

/** Any value: what is no plugin is refused where it is made known, with its fault. */
const plugin: Live = { accepts: () => true, expected: 'a plugin' }

export interface TrainOptions extends CommonOptions {
  /**
   * A router of your own in place of `config.model.moe.router`, or the path of its file. Later calls such as `Run.load`
   * find a plugin that came from a file; in another process, pass a plugin that was written in code to
   * {@link usePlugin} first.
   */
  readonly router?: PluginOf<'router'> | string
  /** A balancing loss of your own in place of `config.model.moe.balance.form`, or the path of its file. */
  readonly balance?: PluginOf<'balance'> | string
  /** A layer of your own in place of dense feed-forward networks, as `config.model.layer` is, or the path of its file. */
  readonly layer?: PluginOf<'layer'> | string
  /** A learning-rate schedule of your own in place of `config.train.schedule.kind`, or the path of its file. */
  readonly schedule?: PluginOf<'schedule'> | string
  /** An optimizer of your own in place of `config.train.optimizer.kind`, or the path of its file. */
  readonly optimizer?: PluginOf<'optimizer'> | string
}

/**
 * Trains a model in a run directory.
 *
 * The configuration is copied, so a later change of the object changes nothing. An error that `onEvent` throws ends the
 * training at once. If `onEvent` is async, the training does not wait for its promises. A promise that rejects ends the
 * training after the step under way, with a checkpoint, and `train` rejects with its error. Promises that are pending
 * at the end of the training are awaited.
 * @throws UsageError if the configuration, an option, the data or the directory is unusable
 * @throws RunError if the disk is full, another process trains in the directory, or the loss stays non-finite
 */
export async function train(config: RunConfig, options: TrainOptions): Promise<TrainSummary> {
  if (!isFields(config) || !isFields(config.model))
    throw new UsageError('invalid config (expected the result of defineConfig)')
  expectPath('directory', options?.directory, 'the path of a folder for the run')
  if (options.from !== undefined && !isFields(options.from))
    throw new UsageError(`invalid from: ${JSON.stringify(options.from)} (expected { run: 'path of a run' })`)
  const { ranks, router, balance, layer, schedule, optimizer, ...common } = options
  checkOptions('options of train', options, plain, {
    signal: abortSignal,
    onEvent: callback,
    ranks: { ...object, accepts: (value) => value === null || object.accepts(value) },
    router: plugin,
    balance: plugin,
    layer: plugin,
    schedule: plugin,
    optimizer: plugin,
  })
  const own = frozen(
    parseInput(runSchema, await withOwnParts(config, { router, balance, layer, schedule, optimizer }), 'configuration'),
  )
  return listening(options.onEvent, (onEvent, failed) =>
    trainRun(own, {
      ...common,
      ...(ranks !== undefined && { ranks }),
      onEvent,
      signal: eitherSignal(options.signal, failed),
    }),
  )
}

/** The configuration with the parts of the user's own, which are made known. */
async function withOwnParts(config: RunConfig, options: OwnParts): Promise<Fields> {
  let fields: Fields = { ...config }
  for (const kind of pluginKinds) {
    const part = options[kind]
    if (part === undefined) continue
    const id = typeof part === 'string' ? await loadPlugin(kind, part) : await usePlugin(kind, part as never)
    fields = withPlugin(fields, kind, id)
  }
  return fields
}

const joinFields = { library: z.string().optional(), deadline: z.number().positive().optional() }

/**
 * Joins the other ranks of the job, if a launcher such as mpirun started this process as one of several. Returns null,
 * without loading MPI, for a process that was started alone.
 * @param env Environment variables, among them the variables of the launcher; usually `process.env`.
 * @throws UsageError if an option is wrong, or the MPI library is missing or is not the library of the launcher
 */
export async function joinRanks(
  env: Readonly<Record<string, string | undefined>>,
  options: JoinOptions = {},
): Promise<ClosableRanks | null> {
  checkOptions('options of joinRanks', options, joinFields, { onEarlyExit: callback })
  return joinAll(env, options)
}
