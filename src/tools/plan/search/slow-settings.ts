/** Settings of experts that make a step far slower than another value of the same setting. */
import type { MoeConfig } from '../../../core/model/config/moe-config.ts'
import { type Prediction, Predictor } from '../cost/predict.ts'
import type { Cluster } from '../inputs/cluster.ts'
import type { PlannedRun } from '../inputs/settings.ts'
import type { ModelLoads } from '../work/load.ts'
import type { ModelTraffic } from '../work/mixture.ts'

/** Ratio of step times from which on a setting is worth a warning. */
const FAR_SLOWER = 2

/**
 * A sentence for each setting without which a step of the same layout would take less than half as long: groups of the
 * capacity, padded experts, one-hot dispatch.
 */
export function slowSettings(
  run: PlannedRun,
  cluster: Cluster,
  loads: ModelLoads,
  traffic: ModelTraffic | null,
  { layout, time, padding }: Prediction,
): string[] {
  const { model, plan } = run
  const { moe } = model
  if (!moe) return []
  const withMoe = (over: Partial<MoeConfig>): PlannedRun => ({ ...run, model: { ...model, moe: { ...moe, ...over } } })
  const empty = padding > 0 ? ` (${Math.round(100 * padding)} % of the rows of experts are empty)` : ''
  const others = [
    ...(moe.groups > 1
      ? [{ setting: `model.moe.groups=${moe.groups}`, other: 'model.moe.groups=1', changed: withMoe({ groups: 1 }) }]
      : []),
    ...(plan.dispatch === 'one-hot'
      ? [
          {
            setting: 'plan.dispatch=one-hot',
            other: 'plan.dispatch=gather',
            changed: { ...run, plan: { ...plan, dispatch: 'gather' as const } },
          },
        ]
      : moe.capacity !== 'none' && moe.compute !== 'ragged'
        ? [
            {
              setting: `model.moe.compute=${moe.compute}`,
              other: 'model.moe.compute=ragged',
              changed: withMoe({ compute: 'ragged' }),
            },
          ]
        : []),
  ]
  return others.flatMap(({ setting, other, changed }) => {
    const ratio = time.stepSeconds / new Predictor(changed, cluster, loads, traffic).predict(layout).time.stepSeconds
    return ratio > FAR_SLOWER
      ? [`with ${setting} a step takes ${ratio.toFixed(1)} times as long as with ${other}${empty}`]
      : []
  })
}
