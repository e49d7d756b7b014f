/** Predicts memory and speed of a run in a layout. */

import { activatedExperts } from '../../../core/model/config/moe-config.ts'
import { routedModules } from '../../../core/model/parameters.ts'
import type { Cluster } from '../inputs/cluster.ts'
import { intervalFactors } from '../inputs/fitted.ts'
import { chanceBelow, type Interval, intervalOn } from '../inputs/intervals.ts'
import { devicesOf, type Layout } from '../inputs/layout.ts'
import type { PlannedRun } from '../inputs/settings.ts'
import type { ModelLoads } from '../work/load.ts'
import type { ModelTraffic } from '../work/mixture.ts'
import { countParameters, type ParameterCounts } from '../work/parameter-counts.ts'
import { describePlanned } from '../work/planned-model.ts'
import { Workloads } from '../work/stages.ts'
import { ComponentTimes, deviceFor, peakOf } from './device-time.ts'
import { type Memory, memoryOf } from './memory.ts'
import { type StageTime, stageTimesOf, type Time, timeOf } from './time.ts'

export interface Prediction {
  readonly layout: Layout
  readonly memory: Memory
  readonly time: Time
  /** Tokens that the whole cluster trains on in a second. */
  readonly tokensPerSecond: number
  /**
   * Model FLOP utilization: the rate of the operations that the model needs, divided by the peak rate of the devices.
   */
  readonly mfu: number
  /** Interval of the predicted time and memory; null if the device was measured itself. */
  readonly interval: Interval | null
  /** Probability that the layout fits into the memory of device and host; null if the device was measured itself. */
  readonly fitProbability: number | null
  /** Share of all assignments that are dropped because their expert is full. */
  readonly dropped: number
  /** Share of expert rows that hold no token. */
  readonly padding: number
  /** Rows of the slowest rank, divided by the mean of all ranks and averaged over layers. */
  readonly imbalance: number
  /** Mean number of tokens that a rank's micro-batch sends to an expert; 0 without experts. */
  readonly tokensPerExpert: number
  /** Coefficient of variation of these numbers over the experts, averaged over layers. */
  readonly cv: number
}

/** Device and host have the same error, so both fit if the tighter of the two does. */
function fitProbability({ device }: Cluster, { deviceBytes, hostBytes }: Memory, { memory: factor }: Interval): number {
  const onDevice = chanceBelow(device.memory, deviceBytes, factor)
  if (device.hostMemory === undefined || hostBytes === 0) return onDevice
  return Math.min(onDevice, chanceBelow(device.hostMemory, hostBytes, factor))
}

/** Predicts the layouts of one run, and caches the work that they share. */
export class Predictor {
  readonly counts: ParameterCounts
  readonly flopsPerToken: number
  readonly activeParameters: number
  private readonly run: PlannedRun
  private readonly cluster: Cluster
  private readonly workloads: Workloads
  private readonly times: ComponentTimes
  private readonly flopsPerAssignment: ReturnType<typeof describePlanned>['flopsPerAssignment']

  /** @param traffic measured imbalance of all-to-alls; null to use the imbalance of the loads */
  constructor(run: PlannedRun, cluster: Cluster, loads: ModelLoads, traffic: ModelTraffic | null = null) {
    this.run = run
    this.cluster = cluster
    this.workloads = new Workloads(run, loads, traffic)
    this.times = new ComponentTimes(deviceFor(cluster.device, run.plan.program), run.plan.precision)
    this.counts = countParameters(run.model, run.plan.latent)
    const { flopsPerToken, flopsPerAssignment, activeParameters } = describePlanned(run.model, run.plan.latent)
    this.flopsPerToken = flopsPerToken
    this.flopsPerAssignment = flopsPerAssignment
    this.activeParameters = activeParameters
  }

  /** @param layout a layout that is legal for the run and the cluster */
  predict(layout: Layout): Prediction {
    const { run, cluster, counts } = this
    const workload = this.workloads.of(layout)
    const time = timeOf(run, cluster, layout, counts, workload, this.times)
    const ranks = workload.stages.flatMap(({ layers }) => layers.flatMap(({ loads }) => loads))
    const mean = (value: (rank: (typeof ranks)[number]) => number) =>
      ranks.length > 0 ? ranks.reduce((sum, rank) => sum + value(rank), 0) / ranks.length : 0
    const tokens = run.train.batch * run.model.sequence
    const peak = devicesOf(layout) * peakOf(cluster.device, run.plan.precision)
    const memory = memoryOf(run, cluster, layout, counts, workload)
    const interval = intervalOn(cluster.device, intervalFactors[run.plan.program])
    return {
      layout,
      memory,
      time,
      tokensPerSecond: tokens / time.stepSeconds,
      mfu: (tokens * this.neededFlops(workload.stages.flatMap(({ layers }) => layers))) / time.stepSeconds / peak,
      interval,
      fitProbability: interval && fitProbability(cluster, memory, interval),
      dropped: mean(({ dropped }) => dropped),
      padding: mean(({ padding }) => padding),
      imbalance: mean(({ imbalance }) => imbalance),
      tokensPerExpert: mean(({ tokensPerExpert }) => tokensPerExpert),
      cv: mean(({ cv }) => cv),
    }
  }

  /** The times of a micro-batch by pipeline stage. @param layout a legal layout */
  stageTimes(layout: Layout): StageTime[] {
    return stageTimesOf(this.run, this.cluster, layout, this.workloads.of(layout), this.times)
  }

  /** Operations per token without dropped assignments. */
  private neededFlops(layers: readonly { readonly loads: readonly { readonly dropped: number }[] }[]): number {
    const { moe } = this.run.model
    if (!moe) return this.flopsPerToken
    const dropped = layers.flatMap(({ loads }, layer) =>
      routedModules(this.run.model, layer).map(
        (module, i) => (loads[i]?.dropped ?? 0) * activatedExperts(moe) * this.flopsPerAssignment[module],
      ),
    )
    return this.flopsPerToken - dropped.reduce((a, b) => a + b, 0)
  }
}
