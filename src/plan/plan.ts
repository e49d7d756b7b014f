/** A plan: the layouts of a run on a cluster that are worth telling, or what keeps it from fitting. */
import type { ModelConfig } from '../model/config.ts'
import type { Prediction } from './cost/predict.ts'
import type { Cluster } from './inputs/cluster.ts'
import { measuredLoads } from './inputs/measured-loads.ts'
import type { PlannedRun } from './inputs/settings.ts'
import { type Change, changesThatFit } from './search/changes.ts'
import { lackingBytes, paretoFront, rank } from './search/search.ts'
import { loadsWithCv, type ModelLoads } from './work/load.ts'
import type { Parts } from './work/parts.ts'

export interface Plan {
  readonly run: PlannedRun
  readonly cluster: Cluster
  readonly parameters: number
  readonly parametersByKind: Parts['kinds']
  readonly activeParameters: number
  readonly flopsPerToken: number
  /** Where the loads come from, in words. */
  readonly load: string
  /** Layouts that were looked at, and how many of them fit. */
  readonly layouts: number
  readonly fitting: number
  /** The fastest first. */
  readonly best: readonly Prediction[]
  /** No layout beats one of these in both time and memory. */
  readonly pareto: readonly Prediction[]
  /** Layouts that do not fit: those that would be faster than the best, else those that lack least. */
  readonly rejected: readonly Rejected[]
  /** When nothing fits: single changes that would do. */
  readonly changes: readonly Change[]
  /** Of the best layout, for the token budget; undefined when nothing fits. */
  readonly budget: Budget | undefined
}

export interface Rejected {
  readonly prediction: Prediction
  readonly lackingBytes: number
}

export interface Budget {
  readonly tokens: number
  readonly seconds: number
  readonly deviceHours: number
  readonly price: number | undefined
}

const SHOWN = { best: 5, rejected: 4 }

export async function plan(run: PlannedRun, cluster: Cluster): Promise<Plan> {
  const { loads, words } = await loadsOf(run)
  return planWith(run, cluster, loads, words)
}

export function planWith(run: PlannedRun, cluster: Cluster, loads: ModelLoads, load: string): Plan {
  const { predictor, fitting, rejected } = rank(run, cluster, loads)
  const [best] = fitting
  const lacking = (prediction: Prediction): Rejected => ({
    prediction,
    lackingBytes: lackingBytes(cluster, prediction),
  })
  const faster = best
    ? rejected.filter(({ time }) => time.stepSeconds < best.time.stepSeconds)
    : distinct(rejected, ({ layout }) => `${layout.expert} ${layout.tensor} ${layout.pipeline} ${layout.zero}`)
  return {
    run,
    cluster,
    parameters: predictor.parts.total,
    parametersByKind: predictor.parts.kinds,
    activeParameters: predictor.activeParameters,
    flopsPerToken: predictor.flopsPerToken,
    load,
    layouts: fitting.length + rejected.length,
    fitting: fitting.length,
    best: fitting.slice(0, SHOWN.best),
    pareto: paretoFront(fitting),
    rejected: faster.slice(0, SHOWN.rejected).map(lacking),
    changes: best ? [] : changesThatFit(run, cluster, loads),
    budget: best && budgetOf(run, cluster, best),
  }
}

function distinct<Value>(values: readonly Value[], key: (value: Value) => string): Value[] {
  const seen = new Set<string>()
  return values.filter((value) => !seen.has(key(value)) && seen.add(key(value)))
}

/** The loads that `plan.load` asks for, and what they are in words. */
async function loadsOf({ model, plan: { load } }: PlannedRun): Promise<{ loads: ModelLoads; words: string }> {
  const { moe } = model
  if (!moe) return { loads: () => [], words: 'no experts' }
  if (load.run === null)
    return {
      loads: loadsWithCv(moe, load.cv),
      words: load.cv === 0 ? 'all experts alike' : `c_v ${load.cv} in every layer (gamma distribution)`,
    }
  const measured = await measuredLoads(load.run, moe, model.layers)
  const words = `as measured in ${load.run} (c_v ${measured.cv.toFixed(2)}${measured.transferred ? shapeNote(model) : ''})`
  return { loads: measured.loads, words }
}

const shapeNote = ({ layers, moe }: ModelConfig): string =>
  `; its distribution, dealt to ${moe?.experts ?? 0} experts in ${layers} layers`

function budgetOf({ model, train, plan: { tokens } }: PlannedRun, cluster: Cluster, best: Prediction): Budget {
  const budget = tokens ?? train.steps * train.batch * model.sequence
  const seconds = budget / best.tokensPerSecond
  const deviceHours = (seconds / 3600) * cluster.devices
  const { pricePerDeviceHour } = cluster
  return {
    tokens: budget,
    seconds,
    deviceHours,
    price: pricePerDeviceHour === undefined ? undefined : pricePerDeviceHour * deviceHours,
  }
}
