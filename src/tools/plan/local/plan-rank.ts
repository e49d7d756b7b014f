/** Predicts memory, computing time and traffic of a rank of Choir's own training, on a machine like this one. */
import { type RunConfig, sequencesOfPass } from '../../../core/config/run-config.ts'
import { sizeOf } from '../../../core/graph/shape.ts'
import { activatedExperts } from '../../../core/model/config/moe-config.ts'
import { moduleWidths, parameterSpecs, routedModules } from '../../../core/model/parameters.ts'
import { shardsOfRank } from '../../../train/step/store/gradient-tree.ts'
import {
  gradientFlows,
  heldSpecs,
  ownedSpecs,
  type Layout as Placement,
  parameterFlows,
  sharesOf,
} from '../../../train/step/store/placement.ts'
import { Predictor } from '../cost/predict.ts'
import { balancedLoads, type ModelLoads } from '../work/load.ts'
import type { Calibration } from './calibration.ts'
import { localLayout, localRun } from './local-run.ts'
import { type RankMemory, rankMemory, tileOf } from './rank-memory.ts'

const FLOAT_BYTES = 4

export interface RankPlan {
  readonly memory: RankMemory
  readonly traffic: RankTraffic
  /** What follows from the calibration of the processor; null without a calibration. */
  readonly processor: ProcessorPlan | null
}

export interface ProcessorPlan {
  /** Peak memory of a training process without its model: programs, libraries, compiled code. */
  readonly baseBytes: number
  /** Seconds of a step, by kind of computation. */
  readonly seconds: {
    /** Forward and backward passes of the layers. */
    readonly layers: number
    /** Embedding, last norm, head and loss. */
    readonly ends: number
    /** Gradient norm and optimizer. */
    readonly update: number
    /** Sums of gradients. */
    readonly additions: number
  }
}

/** Bytes that a rank sends and receives in a step, by channel. */
export type RankTraffic = Readonly<
  Record<'gradients' | 'parameters' | 'experts', { readonly sentBytes: number; readonly receivedBytes: number }>
>

export interface RankPlanOptions {
  /** Description of the processor; null on a GPU, which no calibration describes. */
  readonly calibration: Calibration | null
  readonly threads: number
  /** Share of the assignments of tokens to experts that are kept. */
  readonly kept: number
}

/** @param config configuration with `parallel.shards` */
export function planRank(
  config: RunConfig,
  layout: Placement,
  { calibration, threads, kept }: RankPlanOptions,
): RankPlan {
  const traffic = trafficOf(config, layout, kept)
  return {
    memory: rankMemory(config, layout, threads),
    traffic,
    processor: calibration && planProcessor(config, layout, calibration, kept, traffic),
  }
}

function planProcessor(
  config: RunConfig,
  layout: Placement,
  { cluster, baseBytes }: Calibration,
  kept: number,
  traffic: RankTraffic,
): ProcessorPlan {
  const run = localRun(config)
  const { ranks, expert } = layout
  const planned = { ...localLayout(run), data: ranks, expert, zero: 1, microBatches: passesOf(layout) }
  const computed = kept + paddingOf(config)
  const loads: ModelLoads = (...place) => balancedLoads(run.model)(...place).map(() => computed)
  const { time } = new Predictor(run, cluster, loads).predict(planned)
  const { attention, router, dispatch, experts, dense, embedding, head, optimizer } = time.parts
  const specs = parameterSpecs(config.model)
  const count = (some: readonly { readonly shape: readonly number[] }[]) =>
    some.reduce((sum, { shape }) => sum + sizeOf(shape), 0)
  const { bandwidth, updateEfficiency } = cluster.device
  return {
    baseBytes,
    seconds: {
      layers: attention + router + dispatch + experts + dense,
      ends: embedding + head,
      // The prediction is for a mean rank, but each rank updates the tensors and parts of tensors that it owns.
      update: optimizer * (count(ownedSpecs(specs, layout)) / (count(specs) / ranks)),
      // Gradients that arrive are read and added to a sum, which is read and written.
      additions: (3 * traffic.gradients.receivedBytes) / (bandwidth * updateEfficiency),
    },
  }
}

/** Rows of padding per assignment. On average, half a tile pads the rows of each expert; GPUs pad none. */
function paddingOf(config: RunConfig): number {
  const { moe, sequence } = config.model
  if (!moe || config.runtime.device === 'webgpu') return 0
  const tokens = sequencesOfPass(config) * sequence
  return (moe.experts * (tileOf(moe, tokens) - 1)) / 2 / (activatedExperts(moe) * tokens)
}

const passesOf = (layout: Placement): number => shardsOfRank(layout) * layout.passes

function trafficOf(config: RunConfig, layout: Placement, kept: number): RankTraffic {
  const shares = sharesOf(heldSpecs(parameterSpecs(config.model), layout), layout)
  const ends = (flows: ReturnType<typeof gradientFlows>) => {
    const bytes = (end: 'from' | 'to') =>
      flows.reduce((sum, flow) => sum + (flow[end] === layout.rank ? FLOAT_BYTES * flow.floats : 0), 0)
    return { sentBytes: bytes('from'), receivedBytes: bytes('to') }
  }
  const rows = passesOf(layout) * rowBytes(config, layout, kept)
  return {
    gradients: ends(shares.flatMap(gradientFlows)),
    parameters: ends(shares.flatMap(parameterFlows)),
    experts: { sentBytes: rows, receivedBytes: rows },
  }
}

/** Bytes of rows that a pass sends to other ranks: rows to the experts, results back, and the gradients of both. */
function rowBytes(config: RunConfig, { expert }: Placement, kept: number): number {
  const { model } = config
  const { moe, layers } = model
  if (!moe || expert === 1) return 0
  const bytes = config.runtime.math === 'f16' ? 2 : FLOAT_BYTES
  const rows = (kept + paddingOf(config)) * activatedExperts(moe) * sequencesOfPass(config) * model.sequence
  const modules = Array.from({ length: layers }, (_, layer) => routedModules(model, layer)).flat()
  return modules.reduce((sum, module) => {
    const { inputs, outputs } = moduleWidths(model, module)
    return sum + 2 * ((expert - 1) / expert) * rows * (inputs + outputs) * bytes
  }, 0)
}
