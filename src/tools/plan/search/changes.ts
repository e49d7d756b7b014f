/** Single changes that would make a run fit, tried one by one. */
import { UsageError } from '../../../core/errors.ts'
import type { Prediction } from '../cost/predict.ts'
import { momentPrecision } from '../cost/state.ts'
import type { Cluster } from '../inputs/cluster.ts'
import { optimizerOf, type PlannedRun, storedBytes } from '../inputs/settings.ts'
import type { ModelLoads } from '../work/load.ts'
import type { ModelTraffic } from '../work/mixture.ts'
import { rank } from './search.ts'

export interface Change {
  /** An assignment such as `plan.optimizer=adafactor`, or a larger cluster as text. */
  readonly change: string
  /** Drawback of the change. */
  readonly price: string
  /** The fastest layout with the change. */
  readonly best: Prediction
}

/** Single changes that make a run fit, the smallest sacrifice first; empty if none does. */
export function changesThatFit(
  run: PlannedRun,
  cluster: Cluster,
  loads: ModelLoads,
  traffic: ModelTraffic | null,
): Change[] {
  const { plan } = run
  const options: { change: string; price: string; run: PlannedRun }[] = []
  const offer = (change: string, price: string, over: Partial<PlannedRun['plan']>) =>
    options.push({ change: `plan.${change}`, price, run: { ...run, plan: { ...plan, ...over } } })
  const free = { ...plan.parallel, tensor: null, pipeline: null, expert: null, data: null }
  if (plan.recompute !== null) offer('recompute=null', 'recomputation time', { recompute: null })
  if (plan.zero !== null) offer('zero=null', 'more communication', { zero: null })
  const { tensor, pipeline, expert, data } = plan.parallel
  if ([tensor, pipeline, expert, data].some((size) => size !== null))
    offer('parallel={}', 'a different layout', { parallel: free })
  if (optimizerOf(run) === 'adamw') {
    if (momentPrecision(run) === 'float32') offer('state=bfloat16', '16-bit moments', { state: 'bfloat16' })
    offer('optimizer=adafactor', 'no first moment, a factored second', { optimizer: 'adafactor' })
  }
  const precision = (['bfloat16', 'float16'] as const).find((name) => cluster.device.peak[name] !== undefined)
  if (storedBytes(plan.precision) === 4 && precision) offer(`precision=${precision}`, '16-bit precision', { precision })
  if (cluster.links.host)
    for (const offload of ['optimizer', 'all'] as const)
      if (plan.offload === 'none' || (plan.offload === 'optimizer' && offload === 'all'))
        offer(`offload=${offload}`, 'traffic to the host', { offload })
  const found = options.flatMap(({ change, price, run: changed }) => {
    const best = fastest(changed, cluster, loads, traffic)
    return best ? [{ change, price, best }] : []
  })
  return [...found, ...moreDevices(run, cluster, loads, traffic)]
}

/** The smallest multiple of the devices on which the run fits, with the batch multiplied too. */
function moreDevices(run: PlannedRun, cluster: Cluster, loads: ModelLoads, traffic: ModelTraffic | null): Change[] {
  for (const factor of [2, 4, 8, 16]) {
    const devices = cluster.devices * factor
    if (devices > cluster.devicesPerNode && devices % cluster.devicesPerNode !== 0) continue
    const batch = run.train.batch * factor
    const best = fastest({ ...run, train: { ...run.train, batch } }, { ...cluster, devices }, loads, traffic)
    if (best)
      return [{ change: `${devices} devices, train.batch=${batch}`, price: `${factor} times the devices`, best }]
  }
  return []
}

function fastest(
  run: PlannedRun,
  cluster: Cluster,
  loads: ModelLoads,
  traffic: ModelTraffic | null,
): Prediction | undefined {
  try {
    return rank(run, cluster, loads, traffic).fitting[0]
  } catch (error) {
    // The change leaves no legal layout.
    if (error instanceof UsageError) return undefined
    throw error
  }
}
