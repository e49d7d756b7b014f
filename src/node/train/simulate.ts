/**
 * Trains one rank of a world whose other ranks do not exist, to measure its memory, its computing time and its traffic
 * on this machine, on its processor or on a GPU. Tokens are random, the data that the rank receives is made up (`src/engine/world/simulated`), and
 * nothing is written. Losses mean nothing.
 */

import { Cleanup } from '../../core/cleanup.ts'
import { formatValue } from '../../core/config/problems.ts'
import type { RunConfig } from '../../core/config/run-config.ts'
import { UsageError } from '../../core/errors.ts'
import { keptAssignments } from '../../core/model/routing/statistics.ts'
import { randomFor } from '../../core/random.ts'
import { type Arena, MAX_ARENA_BYTES } from '../../engine/contract/arena.ts'
import { type Engine, engineOf } from '../../engine/contract/engine.ts'
import { channels } from '../../engine/contract/ranks.ts'
import type { NodeTime, StepEvent } from '../../engine/contract/times.ts'
import { SimulatedRanks } from '../../engine/world/simulated/ranks.ts'
import { separatorOf } from '../../train/data/first-visible.ts'
import { JAVASCRIPT } from '../../train/step/metrics/timeline.ts'
import { initialize, initialScales } from '../../train/step/store/initialize.ts'
import type { NamedTensor } from '../../train/step/store/named-tensors.ts'
import type { Layout } from '../../train/step/store/placement.ts'
import type { ParameterStore } from '../../train/step/store/store.ts'
import { createStore, layoutOf, Trainer } from '../../train/step/trainer.ts'
import { openRuntime } from '../run/session.ts'
import { forRanks, groupOf } from './layout.ts'

export interface SimulatedStep {
  readonly kind: 'step'
  readonly step: number
  /** Loss of one rank on random tokens; it means nothing. */
  readonly loss: number
  readonly ms: number
}

/** Memory of the rank in bytes. */
export interface SimulatedMemory {
  readonly parameters: number
  readonly gradients: number
  readonly optimizer: number
  /** Gradients that arrive, rows of the embedding's gradient, and memory of the optimizer's kernel. */
  readonly scratch: number
  /** Activations and other values of the gradient program; undefined without oneDNN, where their size is not known. */
  readonly activations: number | undefined
}

/** Mean seconds of a step after the first, by kind of computation; waiting for other ranks is excluded. */
export interface SimulatedSeconds {
  /** Forward and backward passes of the layers. */
  readonly layers: number
  /** Embedding, last norm, head and loss. */
  readonly ends: number
  /** Gradient norm and optimizer. */
  readonly update: number
  /** Sums of gradients. */
  readonly additions: number
}

/** Traffic of the rank in a step, in bytes. */
export interface SimulatedTraffic {
  readonly sentBytes: number
  readonly receivedBytes: number
}

export interface SimulatedRank extends Engine {
  /** The configuration with `parallel.shards`. */
  readonly config: RunConfig
  readonly layout: Layout
  readonly memory: SimulatedMemory
  /** Peak memory of this process; undefined on a GPU, which has a memory of its own. */
  readonly residentBytes: number | undefined
  readonly seconds: SimulatedSeconds
  /** Seconds of a step that `seconds` does not count: stand-in exchanges, waiting, JavaScript. */
  readonly otherSeconds: number
  readonly traffic: Readonly<Record<'gradients' | 'parameters' | 'experts', SimulatedTraffic>>
  /** Share of the assignments of tokens to experts that were kept; 1 for a dense model. */
  readonly kept: number
  readonly interrupted: boolean
}

export interface SimulateOptions {
  /** Number of ranks of the world. */
  readonly ranks: number
  /** Number of steps. The first step is not timed if there are more. With 0 the memory is allocated, and not used. */
  readonly steps: number
  /** Index of the GPU that computes, with `runtime.device: webgpu`. */
  readonly gpu?: number | undefined
  readonly signal?: AbortSignal
  readonly onStep?: (step: SimulatedStep) => void
}

/**
 * Bytes of each region in the store of a rank. The store is laid out without memory.
 * @param config Configuration with `parallel.shards`.
 */
export function storeBytes(config: RunConfig, layout: Layout): ParameterStore['regionBytes'] {
  const createArena = (byteLength: number): Arena => {
    return { byteLength, host: null, read: async () => new Float32Array(), write: async () => {}, release: () => {} }
  }
  return createStore({ createArena, maxArenaBytes: MAX_ARENA_BYTES }, config, layout).regionBytes
}

/**
 * Simulates a rank and measures it.
 * @throws UsageError if batch, experts or shards do not fit the ranks
 * @throws RuntimeError if the rank does not fit into the memory of this machine or of its GPU
 */
export async function simulateRank(
  requested: RunConfig,
  { ranks: size, steps, gpu, signal, onStep }: SimulateOptions,
): Promise<SimulatedRank> {
  const cleanup = new Cleanup()
  try {
    if (requested.data.replay !== null)
      throw new UsageError(
        `invalid data.replay: ${formatValue(requested.data.replay)} (expected null: the tokens of a simulated rank are random, so no record has them)`,
      )
    const ranks = new SimulatedRanks(size)
    cleanup.defer(() => ranks.close())
    const config = forRanks(requested, ranks, false)
    const layout = layoutOf(config, ranks)
    const runtime = await openRuntime(config, true, groupOf(config, ranks), { index: gpu })
    cleanup.defer(() => runtime.close())
    const store = createStore(runtime, config, layout)
    if (steps > 0) await initialize(store, config.train.seed, initialScales(config))
    // Positions of documents affect neither memory nor time, so any token can serve as the end of text.
    const trainer = await Trainer.compile(runtime, config, store, separatorOf(config.data, { endOfText: 0 }), ranks)
    cleanup.defer(() => trainer.release())

    const batch = randomBatch(config)
    let kept = 1
    let hostAdditions = 0
    let step = 0
    while (step < steps && !signal?.aborted) {
      step++
      const start = performance.now()
      const { loss, layers } = await trainer.step(step, batch)
      onStep?.({ kind: 'step', step, loss, ms: performance.now() - start })
      const assigned = layers.reduce((sum, { tokens }) => sum + tokens.reduce((a, b) => a + b, 0), 0)
      kept = assigned > 0 ? keptAssignments(layers) / assigned : 1
      hostAdditions += additionSeconds(trainer.lastStep())
      if (step > 1 || steps === 1) continue
      trainer.resetProfile()
      hostAdditions = 0
    }
    // Parameters of the last step may still be on their way.
    await trainer.settle()
    const onGpu = runtime.device === 'webgpu'
    const residentBytes = onGpu ? undefined : process.resourceUsage().maxRSS * 1024
    const { nodes, steps: timed, microseconds } = trainer.profile()
    // A GPU has its own times of sums; those of the host include copies to and from the GPU.
    const additions = onGpu ? kernelSeconds(nodes, 'add') : hostAdditions
    const seconds = { ...secondsOf(nodes, timed), additions: additions / Math.max(1, timed) }
    const computing = Object.values(seconds).reduce((sum, part) => sum + part, 0)
    const optimizer = store.regionBytes.moments + bytesOf(trainer.optimizer.stateTensors(), config)
    return {
      ...engineOf(runtime),
      config,
      layout,
      memory: {
        parameters: store.regionBytes.parameters,
        gradients: store.regionBytes.gradients,
        optimizer,
        scratch: store.regionBytes.moments + store.regionBytes.scratch - optimizer,
        activations: trainer.programBytes,
      },
      residentBytes,
      seconds,
      otherSeconds: microseconds / 1e6 / Math.max(1, timed) - computing,
      traffic: trafficOf(ranks, step),
      kept,
      interrupted: step < steps,
    }
  } finally {
    await cleanup.run()
  }
}

/** Bytes of optimizer state in scratch memory, which only Adafactor has. AdamW's moments have regions of their own. */
const bytesOf = (tensors: readonly NamedTensor[], { train }: RunConfig): number =>
  train.optimizer.kind === 'adafactor' ? tensors.reduce((sum, { range }) => sum + range.count * 4, 0) : 0

function randomBatch({ model, train }: RunConfig) {
  const random = randomFor(train.seed, 'simulation')
  const draw = () => Int32Array.from({ length: train.batch * model.sequence }, () => random.integer(model.vocabulary))
  return { tokens: draw(), targets: draw() }
}

function secondsOf(nodes: readonly NodeTime[], steps: number): Omit<SimulatedSeconds, 'additions'> {
  const kindOf = ({ kind, layer, provider }: NodeTime): 'layers' | 'ends' | 'update' | null => {
    // These are orders to the courier, waiting for it, and sums that overlap with each other.
    if (provider === 'MPI' || kind === 'add') return null
    if (layer === 'optimizer') return 'update'
    // Most calls of ONNX Runtime that name no layer belong to a layer.
    return layer.startsWith('layers.') || layer === '' ? 'layers' : 'ends'
  }
  const sum = (wanted: ReturnType<typeof kindOf>) =>
    nodes.filter((node) => kindOf(node) === wanted).reduce((total, { microseconds }) => total + microseconds, 0) /
    1e6 /
    Math.max(1, steps)
  return { layers: sum('layers'), ends: sum('ends'), update: sum('update') }
}

/** Seconds of an arena kernel. */
const kernelSeconds = (nodes: readonly NodeTime[], wanted: string): number =>
  nodes
    .filter(({ kind, layer }) => kind === wanted && layer === 'optimizer')
    .reduce((sum, { microseconds }) => sum + microseconds / 1e6, 0)

/** Sums overlap with each other, so only the events that span all sums of a shard or a step are counted. */
const additionSeconds = (events: readonly StepEvent[]): number =>
  events
    .filter(({ thread, op }) => thread === JAVASCRIPT && /^(add|reduce) gradients$/.test(op))
    .reduce((sum, { begin, end }) => sum + (end - begin) / 1000, 0)

function trafficOf(ranks: SimulatedRanks, steps: number): SimulatedRank['traffic'] {
  const all = ranks.traffic()
  const of = (...some: readonly number[]): SimulatedTraffic => {
    const sum = (bytes: (each: (typeof all)[number]) => number) =>
      all.filter(({ channel }) => some.includes(channel)).reduce((total, each) => total + bytes(each), 0)
    return {
      sentBytes: sum(({ sentBytes }) => sentBytes) / Math.max(1, steps),
      receivedBytes: sum(({ receivedBytes }) => receivedBytes) / Math.max(1, steps),
    }
  }
  return {
    gradients: of(channels.gradients, channels['early gradients']),
    parameters: of(channels.parameters),
    experts: of(channels.experts),
  }
}
