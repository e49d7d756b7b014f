/** A plan: the best layouts of a run on a cluster, or the reasons why it does not fit. */
import type { ModelConfig } from '../../core/model/config.ts'
import { type Failures, failuresOf } from './cost/failures.ts'
import { type Prediction, Predictor } from './cost/predict.ts'
import type { ReceivedGradients } from './cost/step-end.ts'
import type { Cluster } from './inputs/cluster.ts'
import { isFsdp, type PlannedRun } from './inputs/settings.ts'
import { type Change, changesThatFit } from './search/changes.ts'
import { lackingBytes, paretoFront, rank } from './search/search.ts'
import { slowSettings } from './search/slow-settings.ts'
import { loadsWithCv, type ModelLoads } from './work/load.ts'
import { measuredLoads } from './work/measured-loads.ts'
import { type MeasuredTraffic, measuredTraffic, trafficImbalance } from './work/measured-traffic.ts'
import type { ModelTraffic } from './work/mixture.ts'
import { countParameters, type ParameterCounts } from './work/parameter-counts.ts'

export interface Plan {
  readonly run: PlannedRun
  readonly cluster: Cluster
  readonly parameters: number
  readonly parametersByKind: ParameterCounts['kinds']
  readonly activeParameters: number
  readonly flopsPerToken: number
  /** Reasons why intervals are wide, and settings that make a step far slower than others would. */
  readonly warnings: readonly string[]
  /** Source of the loads of the experts, as text. */
  readonly load: string
  /** Traffic between ranks that a run measured (`plan.load.ledger`); undefined if traffic follows from the loads. */
  readonly traffic: MeasuredTraffic | undefined
  /** Number of layouts that were considered. */
  readonly layouts: number
  /** Whether a layout fits with the probability `plan.fitsWith`. */
  readonly fits: boolean
  /**
   * Probability that the best layout fits into memory, or, if none fits, the layout that lacks least memory; null if the
   * device was measured itself.
   */
  readonly fitProbability: number | null
  /** Number of layouts that fit. */
  readonly fitting: number
  /** The fastest layouts that fit, the fastest first. */
  readonly best: readonly Prediction[]
  /** Layouts that no other beats in both time and memory, the fastest first. */
  readonly pareto: readonly Prediction[]
  /** Layouts that do not fit: layouts faster than the best one, or, if none fits, layouts that lack least memory. */
  readonly rejected: readonly Rejected[]
  /** Single changes that make the run fit; empty if it fits without a change. */
  readonly changes: readonly Change[]
  /** Cost of the whole training in the best layout; undefined if nothing fits. */
  readonly budget: Budget | undefined
  /** The best layout with uneven loads, unless the plan sets the loads. */
  readonly uneven: readonly UnevenLoads[]
  /**
   * The best layout if gradients go through owners, as in `choir train`, in case the busiest owner receives more than
   * twice what a collective gives to a rank; otherwise undefined.
   */
  readonly throughOwners: ThroughOwners | undefined
}

export interface ThroughOwners {
  readonly stepSeconds: number
  readonly gradients: ReceivedGradients
}

/** The best layout if the loads of the experts have a coefficient of variation. */
export interface UnevenLoads {
  readonly cv: number
  readonly stepSeconds: number
  readonly dropped: number
  readonly deviceBytes: number
  readonly fitProbability: number | null
}

export interface Rejected {
  readonly prediction: Prediction
  readonly lackingBytes: number
}

export interface Budget {
  /** Factor of the 80 % interval of seconds, device-hours and price; null if the device was measured itself. */
  readonly factor: number | null
  readonly tokens: number
  readonly seconds: number
  readonly deviceHours: number
  readonly price: number | undefined
  /**
   * Largest energy that devices and servers take, in kilowatt-hours, with failures and at the slow end of the interval;
   * undefined if the power is unknown.
   */
  readonly kilowattHours: number | undefined
  /** Failures and checkpoints, whose time the fields above do not contain; null if the device was measured itself. */
  readonly failures: Failures | null
}

const SHOWN = { best: 5, rejected: 4 }

export const balanced = 'balanced (all experts get the same number of tokens)'
const byChance = 'all experts are equally likely; their tokens vary by chance'

/** Coefficients of variation of `Plan.uneven`: loads of a well and of a poorly balanced router. */
const UNEVEN = [0.2, 0.5]

export async function plan(run: PlannedRun, cluster: Cluster): Promise<Plan> {
  const { loads, description } = await loadsOf(run)
  const { ledger } = run.plan.load
  const traffic = run.model.moe && ledger !== null ? await measuredTraffic(ledger) : undefined
  return planWith(run, cluster, loads, description, traffic)
}

export function planWith(
  run: PlannedRun,
  cluster: Cluster,
  loads: ModelLoads,
  load: string,
  traffic?: MeasuredTraffic,
): Plan {
  const imbalance = traffic ? trafficImbalance(traffic, run.model.layers) : null
  const { predictor, fitting, rejected } = rank(run, cluster, loads, imbalance)
  const [best] = fitting
  const lacking = (prediction: Prediction): Rejected => ({
    prediction,
    lackingBytes: lackingBytes(cluster, prediction, run.plan.fitsWith),
  })
  const faster = best
    ? rejected.filter(({ time }) => time.stepSeconds < best.time.stepSeconds)
    : distinct(rejected, ({ layout }) => `${layout.expert} ${layout.tensor} ${layout.pipeline} ${layout.zero}`)
  return {
    run,
    cluster,
    parameters: predictor.counts.total,
    parametersByKind: predictor.counts.kinds,
    activeParameters: predictor.activeParameters,
    flopsPerToken: predictor.flopsPerToken,
    warnings: [...warningsOf(cluster), ...(best ? slowSettings(run, cluster, loads, imbalance, best) : [])],
    load,
    traffic,
    layouts: fitting.length + rejected.length,
    fits: best !== undefined,
    fitProbability: (best ?? rejected[0])?.fitProbability ?? null,
    fitting: fitting.length,
    best: fitting.slice(0, SHOWN.best),
    pareto: paretoFront(fitting),
    rejected: faster.slice(0, SHOWN.rejected).map(lacking),
    changes: best ? [] : changesThatFit(run, cluster, loads, imbalance),
    budget: best && budgetOf(run, cluster, best),
    uneven: best ? unevenLoads(run, cluster, imbalance, best) : [],
    throughOwners: best && throughOwners(run, cluster, loads, imbalance, best),
  }
}

/** Ratio of received bytes from which owners are worth a note. */
const FAR_MORE = 2

function throughOwners(
  run: PlannedRun,
  cluster: Cluster,
  loads: ModelLoads,
  traffic: ModelTraffic | null,
  { layout, time }: Prediction,
): ThroughOwners | undefined {
  const { data, tensor, pipeline, context } = layout
  if (isFsdp(run) || run.plan.exchange === 'owners' || data === 1 || tensor * pipeline * context > 1) return undefined
  const owned: PlannedRun = { ...run, plan: { ...run.plan, exchange: 'owners' } }
  const { gradients, stepSeconds } = new Predictor(owned, cluster, loads, traffic).predict({ ...layout, zero: 1 }).time
  return gradients.bytes > FAR_MORE * time.gradients.bytes ? { gradients, stepSeconds } : undefined
}

/** The best layout with each c_v of {@link UNEVEN}, if the plan has no loads of its own. */
function unevenLoads(
  run: PlannedRun,
  cluster: Cluster,
  traffic: ModelTraffic | null,
  { layout }: Prediction,
): UnevenLoads[] {
  const { moe } = run.model
  const { load } = run.plan
  if (!moe || moe.router === 'expert-choice' || load.run !== null || load.cv > 0 || !load.sampling) return []
  return UNEVEN.map((cv) => {
    const predicted = new Predictor(run, cluster, loadsWithCv(moe, cv), traffic).predict(layout)
    const { time, memory, dropped, fitProbability } = predicted
    return { cv, stepSeconds: time.stepSeconds, dropped, deviceBytes: memory.deviceBytes, fitProbability }
  })
}

function warningsOf({ device }: Cluster): string[] {
  if (device.constants === 'borrowed')
    return [
      `the efficiencies of ${device.name} are those of the device that its cluster file extends, since none were fitted ` +
        'to it, so intervals are wider: set device.matmul.efficiency to the share of the peak that your large products reach',
    ]
  if (device.constants !== 'unfitted') return []
  return [
    `the efficiencies of ${device.name} are those of an average device, since none were fitted to it: in a cluster file, ` +
      'set extends to a similar device, such as h100, or device.matmul.efficiency to the share of the peak that your large products reach',
  ]
}

function distinct<Value>(values: readonly Value[], key: (value: Value) => string): Value[] {
  const seen = new Set<string>()
  return values.filter((value) => !seen.has(key(value)) && seen.add(key(value)))
}

/** The loads that `plan.load` selects, and their description. */
export async function loadsOf({
  model,
  plan: { load },
}: PlannedRun): Promise<{ loads: ModelLoads; description: string }> {
  const { moe } = model
  if (!moe) return { loads: () => [], description: 'no experts' }
  const sampled = load.sampling && moe.router !== 'expert-choice'
  if (load.run === null)
    return {
      loads: loadsWithCv(moe, load.cv),
      description:
        load.cv > 0
          ? `c_v ${load.cv} in every layer (deviation / mean; gamma distribution)${sampled ? ', and chance' : ''}`
          : sampled
            ? byChance
            : balanced,
    }
  const measured = await measuredLoads(load.run, moe, model.layers)
  const chance = sampled ? ', and chance' : ''
  const description = `measured in ${load.run} (c_v ${measured.cv.toFixed(2)}${measured.transferred ? shapeNote(model) : ''})${chance}`
  return { loads: measured.loads, description }
}

const shapeNote = ({ layers, moe }: ModelConfig): string =>
  `; distribution applied to ${moe?.experts ?? 0} experts in ${layers} layers`

export function budgetOf(run: PlannedRun, cluster: Cluster, best: Prediction): Budget {
  const { model, train, plan } = run
  const budget = plan.tokens ?? train.steps * train.batch * model.sequence
  const seconds = budget / best.tokensPerSecond
  const deviceHours = (seconds / 3600) * cluster.devices
  const { pricePerDeviceHour, device } = cluster
  const factor = best.interval?.time ?? null
  const failures = factor === null ? null : failuresOf(run, cluster, countParameters(model, plan.latent))
  return {
    factor,
    tokens: budget,
    seconds,
    deviceHours,
    price: pricePerDeviceHour === undefined ? undefined : pricePerDeviceHour * deviceHours,
    kilowattHours:
      device.power === undefined
        ? undefined
        : ((device.power / 1000) * deviceHours * (factor ?? 1)) / (failures?.goodput ?? 1),
    failures,
  }
}
