/**
 * A pass of the gradient program: the forward graph and its gradient, compiled with the memory of the store.
 *
 * A program writes the gradients of a shard's first pass, or adds the gradients of a later pass. The sum is written
 * over its own operand, which is safe because nothing reads the operand afterwards.
 *
 * For a table that is read by row (the embedding) the program writes the dense part of the gradient and,
 * separately, rows to add and their indices; a kernel adds them after the program has run.
 */

import { sourcesOf } from '../../../core/graph/ops/all-to-all.ts'
import { add, multiply } from '../../../core/graph/ops/elementwise.ts'
import { gradient } from '../../../core/graph/ops/gradient.ts'
import { splitScatters } from '../../../core/graph/ops/sparse-gradient.ts'
import { sizeOf } from '../../../core/graph/shape.ts'
import { input, type Tensor, withKernels } from '../../../core/graph/tensor.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import type { Rooms } from '../../../core/model/expert-rows.ts'
import type { ArenaKernels, RowScatter } from '../../../engine/contract/arena-kernels.ts'
import { channels, type Ranks } from '../../../engine/contract/ranks.ts'
import type { PortMemory, Runtime } from '../../../engine/contract/runtime.ts'
import type { GradientSum } from '../ranks/gradient-sum.ts'
import type { ParameterSharing } from '../ranks/parameter-sharing.ts'
import { inPlace } from '../ranks/range-exchange.ts'
import { inputNameOf } from '../store/model-store.ts'
import { sourcesKept } from '../store/placement.ts'
import type { RowMemory } from '../store/row-memory.ts'
import type { ParameterStore } from '../store/store.ts'
import { lossScale } from './loss-scale.ts'
import { CompiledPass, type Retrace, tracePass } from './pass.ts'

export interface GradientShape {
  /** Number of sequences per step. */
  readonly batch: number
  /** Equal parts of the batch whose gradients are summed in a tree; a multiple of the ranks. Default: 1. */
  readonly shards?: number
  /** Number of passes of a shard. */
  readonly microBatches: number
  readonly sequence: number
}

/** Number of sequences in a pass. */
export const passSequences = ({ batch, shards = 1, microBatches }: Omit<GradientShape, 'sequence'>): number =>
  batch / shards / microBatches

/** Everything needed to compile a gradient program. */
export interface GradientSetting {
  readonly runtime: Runtime
  readonly kernels: ArenaKernels
  readonly config: ModelConfig
  readonly store: ParameterStore
  readonly shape: GradientShape
  /** The ranks that take part; null for a process alone. */
  readonly ranks?: Ranks | null
  /** Whether programs run while gradients and parameters are exchanged (default), or before and after it. */
  readonly overlap?: boolean
  /** Token at which attention restarts; default: a token sees its whole window. */
  readonly separator?: number | undefined
  /** Coefficient of the balancing loss at a step (from 1); default: the constant of the configuration. */
  readonly balance?: ((step: number) => number) | undefined
  /** Whether batches have the experts of their tokens; default: routers choose. */
  readonly replay?: boolean
}

/** Name of the input with the coefficient of the balancing loss. */
export const balanceName = 'balance coefficient'

/** Parts that all passes of a program use. */
export interface Shared {
  readonly rows: RowMemory
  readonly sum: GradientSum
  readonly parameters: ParameterSharing
}

export interface GradientPass {
  readonly pass: CompiledPass
  readonly scatters: readonly RowScatter[]
}

/** @param place Whether the pass is the first of its shard, and whether gradients are complete after it. */
export async function compilePass(
  setting: GradientSetting,
  { rows, sum, parameters }: Shared,
  { first, last }: { readonly first: boolean; readonly last: boolean },
): Promise<GradientPass> {
  const { runtime, config, overlap = true } = setting
  const trace = (rooms?: Rooms) => withKernels(runtime.kernels, () => traceGradient(setting, rows, !first, rooms))
  const { traced, outputs, memory, scatters, complete } = trace()
  const retrace: Retrace = (rooms) => {
    const { traced, outputs } = trace(rooms)
    return { traced, extra: outputs }
  }
  const early = last && overlap ? sum.exchangeEarly([...complete.keys()]) : []
  const exchanges = early.map(({ name, transfers }) => {
    const after = complete.get(name) as string[]
    // A device cannot post an exchange; this program begins it when the device has the outputs.
    return { after, channel: channels['early gradients'], transfers: runtime.defers ? [] : inPlace(transfers) }
  })
  const beside = { early: exchanges, arriving: first && overlap ? parameters.groups.map((names) => [...names]) : [] }
  return { pass: await CompiledPass.compile(runtime, config, traced, outputs, memory, beside, retrace), scatters }
}

/** Traces the gradient of every parameter that is trained as program outputs, with the memory that they are written to. */
function traceGradient(
  { runtime, config, store, shape, separator, balance, replay = false }: GradientSetting,
  rowMemory: RowMemory,
  accumulate: boolean,
  rooms?: Rooms,
) {
  const { shards = 1, microBatches, sequence } = shape
  const balanceCoefficient = balance && { balanceCoefficient: input(balanceName, 'float32', []) }
  const pass = {
    ...{ batch: passSequences(shape), sequence, training: true, capacity: 'train' as const, replay },
    ...balanceCoefficient,
  }
  const traced = tracePass(config, store, pass, separator, rooms)
  const used = traced.parameters.used.filter(({ spec }) => !spec.frozen)
  const scale = lossScale(runtime.math, shape.batch * sequence)
  const objective = multiply(traced.losses.objective, scale / (shards * microBatches))
  const unscaled = (gradient: Tensor) => (scale === 1 ? gradient : multiply(gradient, 1 / scale))
  const gradients = gradient(
    objective,
    used.map(({ tensor }) => tensor),
  )
  const keepsSources = sourcesKept(store.layout) > 1
  const outputs: Record<string, Tensor> = {}
  const memory: Record<string, PortMemory> = {}
  const scatters: RowScatter[] = []
  // The outputs of the gradient of each tensor to which nothing is added after the program.
  const complete = new Map<string, string[]>()
  used.forEach(({ spec, expert, tensor }, i) => {
    const name = inputNameOf(tensor)
    const { dense: whole, additions } = splitScatters(gradients[i] as Tensor)
    const dense = unscaled((keepsSources && sourcesOf(whole)) || whole)
    memory[`gradient ${name}`] = store.parts(spec.name, expert)
    memory[`before ${name}`] = store.parts(spec.name, expert)
    outputs[`gradient ${name}`] = accumulate ? add(input(`before ${name}`, 'float32', dense.shape), dense) : dense
    const isComplete = additions.length === 0 && !(spec.stacked && keepsSources)
    if (isComplete) complete.set(spec.name, [...(complete.get(spec.name) ?? []), `gradient ${name}`])
    additions.forEach(({ rows, indices }, use) => {
      const place = rowMemory.of(spec.name, use, sizeOf(indices.shape), tensor.shape)
      outputs[`rows ${use} of ${name}`] = unscaled(rows)
      outputs[`indices ${use} of ${name}`] = indices
      memory[`rows ${use} of ${name}`] = place.rows
      memory[`indices ${use} of ${name}`] = place.indices
      scatters.push(place.scatter)
    })
  })
  // The order is backward: the gradients of the last layer come first.
  return { traced, outputs, memory, scatters, complete: new Map([...complete].reverse()) }
}
