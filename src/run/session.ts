/** Opens the runtime and the data of a run, and formats notices about them. */
import { type RunConfig, sequencesOfPass } from '../config/run-config.ts'
import { type Dataset, openDataset } from '../data/dataset.ts'
import type { Tokenizer } from '../data/tokenizer/tokenizer.ts'
import { type Activity, causalityOf } from '../model/routing/causality.ts'
import type { GroupPlace, Runtime } from '../runtime/contract.ts'
import { createRuntime } from '../runtime/cpu-runtime.ts'

/** @param group Ranks that share the experts; default: none. */
export async function openRuntime(
  { runtime }: Pick<RunConfig, 'runtime'>,
  profile = false,
  group?: GroupPlace,
): Promise<Runtime> {
  const { device, threads, math } = runtime
  if (device === 'cpu') return createRuntime({ math, profile, group, ...(threads !== undefined && { threads }) })
  // Loaded when asked for: Dawn and the drivers of GPUs are large.
  const { openNodeDevice } = await import('../runtime/webgpu/node.ts')
  const { createDeviceRuntime } = await import('../runtime/webgpu/runtime.ts')
  return createDeviceRuntime(await openNodeDevice(), { profile })
}

/** An activity of a command (training, evaluation, ...) and its capacity rule. */
export type RoutedActivity = Pick<Activity, 'activity' | 'rule'>

/**
 * Notices that a user needs to read the numbers of a run: about the engine, and about the tokens that losses depend on.
 */
export function runNotices(
  runtime: Runtime,
  config: Pick<RunConfig, 'model' | 'train' | 'parallel'>,
  activities: readonly RoutedActivity[] = [
    { activity: 'training', rule: 'train' },
    { activity: 'evaluation', rule: 'eval' },
  ],
): string[] {
  return [...(runtime.notice === undefined ? [] : [runtime.notice]), ...causalityNotices(config, activities)]
}

/** One notice for each way in which losses are not causal. */
export function causalityNotices(
  { model, train, parallel }: Pick<RunConfig, 'model' | 'train' | 'parallel'>,
  activities: readonly RoutedActivity[],
): string[] {
  const { moe, sequence } = model
  if (!moe) return []
  const batch = sequencesOfPass({ train, parallel })
  const notices = new Map<string, string[]>()
  for (const { activity, rule } of activities) {
    const { kind, cause } = causalityOf(moe, { activity, rule, batch, sequence })
    if (cause === null) continue
    const field = `model.moe.${cause}=${moe[cause]}`
    const dependence =
      kind === 'future'
        ? `a token's loss depends on later tokens of its own text (${field}), which are unknown in generation: losses ` +
          'may be better than those of generated text, and cannot be compared with those of causal routing'
        : `a token's loss depends on other texts of its batch, later positions included, but not on later tokens ` +
          `of its own text (${field})`
    notices.set(dependence, [...(notices.get(dependence) ?? []), activity])
  }
  return [...notices].map(([dependence, during]) => `in ${during.join(' and ')} ${dependence}`)
}

/** Opens the data of a run. `tokenizer`: that of the run, if it has one already. `holdOutAll`: hold out all text. */
export function openRunData(
  { model, data }: Pick<RunConfig, 'model' | 'data'>,
  options: { tokenizer?: Tokenizer; holdOutAll?: boolean; signal?: AbortSignal; onProgress: (message: string) => void },
): Promise<Dataset> {
  return openDataset(data, {
    vocabulary: model.vocabulary,
    ...(options.holdOutAll ? { holdOutAll: true } : { sequence: model.sequence }),
    onProgress: options.onProgress,
    ...(options.tokenizer && { tokenizer: options.tokenizer }),
    ...(options.signal && { signal: options.signal }),
  })
}
