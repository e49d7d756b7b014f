/** What a run holds open besides its files: the runtime, the data and the memory of the model. */
import type { RunConfig } from '../config/run-config.ts'
import { type Dataset, openDataset } from '../data/dataset.ts'
import type { Tokenizer } from '../data/tokenizer/tokenizer.ts'
import { type Activity, causalityOf } from '../model/routing/causality.ts'
import type { Runtime } from '../runtime/contract.ts'
import { createRuntime } from '../runtime/cpu-runtime.ts'

export async function openRuntime({ runtime }: Pick<RunConfig, 'runtime'>, profile = false): Promise<Runtime> {
  const { device, threads, math } = runtime
  return createRuntime({ device, math, profile, ...(threads !== undefined && { threads }) })
}

/** What a command does with a model, and at which capacity. */
export type RoutedActivity = Pick<Activity, 'activity' | 'rule'>

/**
 * What a user has to know before reading the numbers of a run: what computes, and which tokens losses depend on.
 * @param activities What the command does.
 */
export function noticesOf(
  runtime: Runtime,
  config: Pick<RunConfig, 'model' | 'train'>,
  activities: readonly RoutedActivity[] = [
    { activity: 'training', rule: 'train' },
    { activity: 'evaluation', rule: 'eval' },
  ],
): string[] {
  return [...(runtime.notice === undefined ? [] : [runtime.notice]), ...causalityNotices(config, activities)]
}

/** One notice for each way in which losses are not those of a causal model; none when they are. */
export function causalityNotices(
  { model, train }: Pick<RunConfig, 'model' | 'train'>,
  activities: readonly RoutedActivity[],
): string[] {
  const { moe, sequence } = model
  if (!moe) return []
  const batch = train.batch / train.microBatches
  const notices = new Map<string, string[]>()
  for (const { activity, rule } of activities) {
    const seen = causalityOf(moe, { activity, rule, batch, sequence })
    if (seen.cause === null) continue
    const field = `model.moe.${seen.cause}=${moe[seen.cause]}`
    const dependence =
      seen.kind === 'future'
        ? `a token's loss depends on later tokens of its own text (${field}), which a model that writes does not ` +
          'have: losses may be better than those of generated text, and do not compare with those of causal routing'
        : `a token's loss depends on other texts of its batch, at later positions too, though not on later tokens ` +
          `of its own (${field})`
    notices.set(dependence, [...(notices.get(dependence) ?? []), activity])
  }
  return [...notices].map(([dependence, during]) => `in ${during.join(' and ')} ${dependence}`)
}

/** The data of a run; with the run's own tokenizer when it has one already. `whole`: all is held out. */
export function openRunData(
  { model, data }: Pick<RunConfig, 'model' | 'data'>,
  options: { tokenizer?: Tokenizer; whole?: boolean; signal?: AbortSignal; say: (message: string) => void },
): Promise<Dataset> {
  return openDataset(data, {
    vocabulary: model.vocabulary,
    ...(options.whole ? { whole: true } : { sequence: model.sequence }),
    onProgress: options.say,
    ...(options.tokenizer && { tokenizer: options.tokenizer }),
    ...(options.signal && { signal: options.signal }),
  })
}
