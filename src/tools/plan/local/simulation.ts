/**
 * Compares the prediction of a rank with a rank of a simulated world, measured on this machine. If the whole rank does
 * not fit, the measured rank has fewer layers. Its activations are then extrapolated from two depths, and its times are
 * scaled: of layers by their number, of updates and sums of gradients by their sizes. The store of the whole rank is
 * laid out without memory.
 *
 * On a GPU there is no prediction of times, since no calibration describes a GPU, and none of activations, since the
 * prediction is for the program of the processor.
 */
import type { RunConfig } from '../../../core/config/run-config.ts'
import { UsageError } from '../../../core/errors.ts'
import { sizeOf } from '../../../core/graph/shape.ts'
import { parameterSpecs } from '../../../core/model/parameters.ts'
import type { Engine } from '../../../engine/contract/engine.ts'
import { forRanks } from '../../../node/train/layout.ts'
import {
  type SimulatedMemory,
  type SimulatedRank,
  type SimulatedSeconds,
  type SimulatedStep,
  simulateRank,
  storeBytes,
} from '../../../node/train/simulate.ts'
import { type Layout, ownedSpecs } from '../../../train/step/store/placement.ts'
import { layoutOf } from '../../../train/step/trainer.ts'
import type { Calibration } from './calibration.ts'
import { calibrationOf } from './plan-local.ts'
import { planRank, type RankPlan, type RankTraffic } from './plan-rank.ts'
import { type RankMemory, rankMemory } from './rank-memory.ts'

/** A measured value and its prediction; null if there is none. */
export interface Compared {
  readonly measured: number
  readonly planned: number | null
}

export interface ComparedTraffic {
  readonly sentBytes: Compared
  readonly receivedBytes: Compared
}

export interface Simulation extends Engine {
  /** The whole configuration, with `parallel.shards`. */
  readonly config: RunConfig
  readonly layout: Layout
  /** Number of layers of the measured rank. */
  readonly layers: number
  /** Share of the assignments of tokens to experts that were kept. */
  readonly kept: number
  /** Bytes of the whole rank, by part. */
  readonly memory: Readonly<Partial<Record<keyof SimulatedMemory, Compared>>>
  /** Peak memory of the process, at the measured depth; null on a GPU, which has a memory of its own. */
  readonly resident: Compared | null
  /** Seconds of a step of the whole rank, by kind of computation. */
  readonly seconds: Readonly<Record<keyof SimulatedSeconds, Compared>>
  /** Seconds of a measured step that are not computation. */
  readonly otherSeconds: number
  /** Bytes that the rank sends and receives in a step, at the measured depth. */
  readonly traffic: Readonly<Record<keyof RankTraffic, ComparedTraffic>>
  /** The prediction for the whole rank. */
  readonly wholeTraffic: RankTraffic
  readonly interrupted: boolean
}

export type SimulationEvent = SimulatedStep | { readonly kind: 'prepare'; readonly message: string }

export interface SimulationOptions {
  readonly ranks: number
  readonly steps: number
  /** Index of the GPU that computes, with `runtime.device: webgpu`. */
  readonly gpu?: number | undefined
  readonly signal?: AbortSignal
  readonly onEvent?: (event: SimulationEvent) => void
  /** Memory that the rank may use; default: a quarter of what is free. */
  readonly memoryBytes?: number
  /** Description of this machine; default: the stored one. */
  readonly calibration?: Calibration
}

/**
 * Share of the free memory that a simulation may use. Other programs need memory too, and more layers show nothing new.
 */
const SHARE_OF_FREE = 0.25

/**
 * @throws UsageError if batch, experts or shards do not fit the ranks, or if not even two periods of layers fit into
 * the memory
 */
export async function simulate(requested: RunConfig, options: SimulationOptions): Promise<Simulation> {
  const { ranks: size, steps, gpu, signal, onEvent: emit = () => {} } = options
  const place = { rank: 0, size }
  const config = forRanks(requested, place, false)
  const layout = layoutOf(config, place)
  const { memoryBytes = SHARE_OF_FREE * process.availableMemory() } = options
  const threads = config.runtime.threads ?? 1
  const layers = layersThatFit(config, layout, threads, memoryBytes)
  const simulated = withLayers(config, layers)
  const measured = await simulateRank(simulated, { ranks: size, steps, gpu, onStep: emit, ...(signal && { signal }) })
  const unit = config.model.moe?.every ?? 1
  const smaller =
    layers < config.model.layers
      ? await simulateRank(withLayers(config, layers - unit), { ranks: size, steps: 0, gpu })
      : measured

  const onMessage = (message: string) => emit({ kind: 'prepare', message })
  const onGpu = config.runtime.device === 'webgpu'
  const calibration = onGpu ? null : (options.calibration ?? (await calibrationOf(config, { onMessage })))
  const planOptions = { calibration, threads: measured.threads, kept: measured.kept }
  const [whole, part] = [planRank(config, layout, planOptions), planRank(simulated, layout, planOptions)]
  return compare(config, layout, measured, smaller, whole, part)
}

const withLayers = (config: RunConfig, layers: number): RunConfig => ({
  ...config,
  model: { ...config.model, layers },
})

/** The largest number of layers, in whole periods of sparse and dense layers, whose rank fits into the memory. */
function layersThatFit(config: RunConfig, layout: Layout, threads: number, memoryBytes: number): number {
  const all = config.model.layers
  const { every: unit, from } = config.model.moe ?? { every: 1, from: 0 }
  const fewest = from + 2 * unit
  const needed = (layers: number) => totalOf(rankMemory(withLayers(config, layers), layout, threads))
  if (needed(all) <= memoryBytes) return all
  for (let layers = from + Math.floor((all - 1 - from) / unit) * unit; layers >= fewest; layers -= unit)
    if (needed(layers) <= memoryBytes) return layers
  throw new UsageError(
    `not enough memory to simulate a rank: ${fewest} of ${all} layers need ${gib(needed(fewest))} (a simulation ` +
      `may use ${gib(memoryBytes)}, a quarter of the free memory; use a smaller model or train.batch, or a larger ` +
      'parallel.expert)',
  )
}

const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`

function compare(
  config: RunConfig,
  layout: Layout,
  measured: SimulatedRank,
  smaller: SimulatedRank,
  whole: RankPlan,
  part: RankPlan,
): Simulation {
  const { layers } = measured.config.model
  const missing = config.model.layers - layers
  const scaled = (large: number, small: number) =>
    missing === 0 ? large : large + ((large - small) / (layers - smaller.config.model.layers)) * missing
  const optimizer = scaled(measured.memory.optimizer, smaller.memory.optimizer)
  const { parameters, gradients, moments, scratch } = storeBytes(config, layout)
  const activations =
    measured.memory.activations === undefined || smaller.memory.activations === undefined
      ? undefined
      : scaled(measured.memory.activations, smaller.memory.activations)
  const all = { parameters, gradients, optimizer, scratch: moments + scratch - optimizer, activations }
  const memory = (Object.keys(whole.memory) as (keyof SimulatedMemory)[]).flatMap((kind) =>
    all[kind] === undefined
      ? []
      : [[kind, { measured: all[kind], planned: isPlanned(config, kind) ? whole.memory[kind] : null }]],
  )
  // An update works on the parameters that this rank owns.
  const owned = ownedFloats(config, layout) / ownedFloats(measured.config, layout)
  const factors: Record<keyof SimulatedSeconds, number> = {
    layers: config.model.layers / layers,
    ends: 1,
    update: owned,
    additions: whole.traffic.gradients.receivedBytes / Math.max(1, part.traffic.gradients.receivedBytes),
  }
  const seconds = (Object.keys(factors) as (keyof SimulatedSeconds)[]).map((kind) => [
    kind,
    { measured: measured.seconds[kind] * factors[kind], planned: whole.processor?.seconds[kind] ?? null },
  ])
  const traffic = (Object.keys(whole.traffic) as (keyof RankTraffic)[]).map((channel) => {
    const of = (direction: 'sentBytes' | 'receivedBytes'): Compared => ({
      measured: measured.traffic[channel][direction],
      planned: part.traffic[channel][direction],
    })
    return [channel, { sentBytes: of('sentBytes'), receivedBytes: of('receivedBytes') }]
  })
  const { provider, math, threads, kept, otherSeconds, interrupted } = measured
  return {
    provider,
    math,
    threads,
    config,
    layout,
    layers,
    kept,
    memory: Object.fromEntries(memory),
    resident:
      measured.residentBytes === undefined
        ? null
        : {
            measured: measured.residentBytes,
            planned: part.processor && part.processor.baseBytes + totalOf(part.memory),
          },
    seconds: Object.fromEntries(seconds),
    otherSeconds,
    traffic: Object.fromEntries(traffic),
    wholeTraffic: whole.traffic,
    interrupted,
  }
}

/** Whether a part of the memory is predicted: activations only for the program of the processor. */
const isPlanned = ({ runtime }: RunConfig, kind: keyof SimulatedMemory): boolean =>
  runtime.device === 'cpu' || kind !== 'activations'

const totalOf = (memory: RankMemory): number => Object.values(memory).reduce((sum: number, bytes) => sum + bytes, 0)

const ownedFloats = ({ model }: RunConfig, layout: Layout): number =>
  ownedSpecs(parameterSpecs(model), layout).reduce((sum, { shape }) => sum + sizeOf(shape), 0)
