/** Notices that a user needs to read the numbers of a run. */
import { type RunConfig, sequencesOfPass } from '../../core/config/run-config.ts'
import { sizeOf } from '../../core/graph/shape.ts'
import { type Activity, causalityOf } from '../../core/model/causality.ts'
import { withFrozen } from '../../core/model/freeze.ts'
import { parameterSpecs } from '../../core/model/parameters.ts'
import { count } from '../../core/text/numbers.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'

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

/** The {@link runNotices} of a training, and notices of a long warm-up and of how much of the model it leaves as it is. */
export const trainingNotices = (runtime: Runtime, config: RunConfig): string[] => [
  ...runNotices(runtime, config),
  ...warmupNotices(config),
  ...frozenNotices(config),
]

/** Largest share of the steps that a warm-up may have without a notice. */
const LONG_WARMUP = 1 / 4

type Scheduled = { readonly train: Pick<RunConfig['train'], 'steps' | 'schedule'> }

/** Whether the learning rate rises for more than a quarter of the steps. */
export const warmsUpLong = ({ train }: Scheduled): boolean => train.schedule.warmup > LONG_WARMUP * train.steps

/** A notice about a warm-up of more than a quarter of the steps; a study has its own, once for all its runs. */
export function warmupNotices(config: Scheduled): string[] {
  const { steps, schedule } = config.train
  if (!warmsUpLong(config)) return []
  const most = Math.floor(LONG_WARMUP * steps)
  const rises = schedule.warmup < steps ? `${schedule.warmup} of the ${steps} steps` : `all ${steps} steps`
  return [
    `the learning rate rises for ${rises} (train.schedule.warmup=${schedule.warmup}, train.steps=${steps}): ` +
      'the loss is that of a lower rate than train.schedule.learningRate (set train.schedule.warmup to at most ' +
      `${most}, or train.steps to at least ${Math.ceil(schedule.warmup / LONG_WARMUP)})`,
  ]
}

/** A notice of how much of the model `train.freeze` leaves as it is; no notice if it is empty. */
function frozenNotices({ model, train }: Pick<RunConfig, 'model' | 'train'>): string[] {
  if (train.freeze.length === 0) return []
  const specs = withFrozen(parameterSpecs(model), train.freeze)
  const frozen = specs.filter((spec) => spec.frozen)
  const parameters = (of: typeof specs) => count(of.reduce((sum, { shape }) => sum + sizeOf(shape), 0))
  return [
    `${frozen.length} of ${specs.length} tensors, with ${parameters(frozen)} of ${parameters(specs)} parameters, stay as they ` +
      `are (train.freeze: ${train.freeze.join(', ')})`,
  ]
}

/** One notice for each way in which losses are not causal. */
export function causalityNotices(
  { model, train, parallel }: Pick<RunConfig, 'model' | 'train' | 'parallel'>,
  activities: readonly RoutedActivity[],
): string[] {
  const { moe, layer, sequence } = model
  const batch = sequencesOfPass({ train, parallel })
  const notices = new Map<string, string[]>()
  for (const { activity, rule } of activities) {
    const { kind, cause } = causalityOf(model, { activity, rule, batch, sequence })
    if (cause === null) continue
    const field = cause === 'layer' ? `model.layer.own=${layer?.own}` : `model.moe.${cause}=${moe?.[cause]}`
    const dependence =
      kind === 'future'
        ? `a token's loss depends on later tokens of its own text (${field}), which are unknown in generation: losses ` +
          'may be better than those of generated text, and cannot be compared with those of causal models'
        : `a token's loss depends on other texts of its batch, later positions included, but not on later tokens ` +
          `of its own text (${field})`
    notices.set(dependence, [...(notices.get(dependence) ?? []), activity])
  }
  return [...notices].map(([dependence, during]) => `in ${during.join(' and ')} ${dependence}`)
}
