/** What would make a run fit that does not: single changes, tried one by one. */
import type { Cluster } from './cluster.ts'
import type { ModelLoads } from './load.ts'
import { optimizerKind } from './memory.ts'
import type { Prediction } from './predict.ts'
import { rank } from './search.ts'
import { type PlannedRun, storedBytes } from './settings.ts'

export interface Change {
  /** In words: `plan.optimizer=adafactor`, or what else has to change. */
  readonly change: string
  /** What is given up. */
  readonly price: string
  /** The fastest layout with the change. */
  readonly best: Prediction
}

/** Single changes that make a run fit, the one that gives up least first; empty when none does. */
export function changesThatFit(run: PlannedRun, cluster: Cluster, loads: ModelLoads): Change[] {
  const { plan } = run
  const withPlan = (over: Partial<PlannedRun['plan']>): PlannedRun => ({ ...run, plan: { ...plan, ...over } })
  const free = { tensor: null, pipeline: null, expert: null, data: null }
  const options: { change: string; price: string; run?: PlannedRun; cluster?: Cluster }[] = []
  if (plan.recompute !== null)
    options.push({ change: 'plan.recompute=null', price: 'time to compute again', run: withPlan({ recompute: null }) })
  if (plan.zero !== null)
    options.push({ change: 'plan.zero=null', price: 'more communication', run: withPlan({ zero: null }) })
  if (Object.values(plan.parallel).some((size) => size !== null))
    options.push({
      change: 'plan.parallel={}',
      price: 'another layout',
      run: withPlan({ parallel: free, zero: null, recompute: null }),
    })
  if (optimizerKind(run) === 'adamw') {
    if (plan.state === 'float32')
      options.push({ change: 'plan.state=bfloat16', price: 'moments of 16 bits', run: withPlan({ state: 'bfloat16' }) })
    options.push({
      change: 'plan.optimizer=adafactor',
      price: 'no first moment, a factored second',
      run: withPlan({ optimizer: 'adafactor' }),
    })
  }
  if (storedBytes(plan.precision) === 4 && cluster.device.peak.bfloat16 !== undefined)
    options.push({ change: 'plan.precision=bfloat16', price: '16 bits', run: withPlan({ precision: 'bfloat16' }) })
  if (cluster.links.host)
    for (const offload of ['optimizer', 'all'] as const)
      if (plan.offload === 'none' || (plan.offload === 'optimizer' && offload === 'all'))
        options.push({ change: `plan.offload=${offload}`, price: 'traffic to the host', run: withPlan({ offload }) })
  for (const factor of [2, 4, 8, 16]) {
    const devices = cluster.devices * factor
    if (run.train.batch % devices === 0 || devices % run.train.batch !== 0)
      options.push({
        change: `${devices} devices`,
        price: `${factor} times the devices`,
        run: { ...run, train: { ...run.train, batch: run.train.batch * factor } },
        cluster: { ...cluster, devices },
      })
  }
  const found = options.flatMap(({ change, price, run: changed = run, cluster: on = cluster }) => {
    const best = fastest(changed, on, loads)
    return best ? [{ change, price, best, grown: on !== cluster }] : []
  })
  // Of more devices only the smallest number that does.
  const grown = found.find((each) => each.grown)
  return found
    .filter((each) => !each.grown || each === grown)
    .map(({ change, price, best }) => ({ change, price, best }))
}

function fastest(run: PlannedRun, cluster: Cluster, loads: ModelLoads): Prediction | undefined {
  try {
    return rank(run, cluster, loads).fitting[0]
  } catch {
    // A change may leave no legal layout: then it is no help.
    return undefined
  }
}
