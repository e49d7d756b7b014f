/**
 * Memory of a rank of Choir's own training, by part. The memory of state follows from the placement of tensors. Working
 * memory belongs to the staged gradient program, whose values share one memory, which is as large as the moment with
 * most values needs. A layer keeps activations until its backward pass, so that moment is at the head, or in the
 * backward pass of a layer: the last or the first layer, if all layers are alike.
 */
import type { RunConfig } from '../../../core/config/run-config.ts'
import { sequencesOfPass } from '../../../core/config/run-config.ts'
import { sourcesOfSum } from '../../../core/graph/ops/expert.ts'
import { sizeOf } from '../../../core/graph/shape.ts'
import { counterSums } from '../../../core/graph/tree.ts'
import type { MoeConfig } from '../../../core/model/config/moe-config.ts'
import { activatedExperts, type RoutedModule } from '../../../core/model/config/moe-config.ts'
import { attentionColumns } from '../../../core/model/config.ts'
import { moduleWidths, type ParameterSpec, parameterSpecs, routedModules } from '../../../core/model/parameters.ts'
import { capacityOf } from '../../../core/model/routing/capacity.ts'
import { hasRouterWeights } from '../../../core/model/routing/routers.ts'
import { tileFor } from '../../../core/model/routing/slots.ts'
import { MAX_ARENA_BYTES } from '../../../engine/contract/arena.ts'
import { adafactorScratch } from '../../../train/step/optimizer/adafactor.ts'
import { factoredSize } from '../../../train/step/optimizer/factored-size.ts'
import { ownStateFloats, ruleOf } from '../../../train/step/optimizer/own-rule.ts'
import { gradientScratch } from '../../../train/step/passes/gradient-program.ts'
import { exchangeScratch } from '../../../train/step/ranks/gradient-sum.ts'
import { partialSums } from '../../../train/step/store/gradient-tree.ts'
import { momentFloats } from '../../../train/step/store/moment-floats.ts'
import { heldSpecs, type Layout, ownedSpecs, sharesOf, sourcesKept } from '../../../train/step/store/placement.ts'

const FLOAT_BYTES = 4
/** The rows of an expert are padded to a multiple of at most this number. */
const TILE = 8
/** The rows of an expert are computed in pieces of at most this number. */
const PIECE = 512

/** Bytes of a rank, by part. */
export interface RankMemory {
  readonly parameters: number
  readonly gradients: number
  readonly optimizer: number
  /** Scratch memory: gradients that arrive, rows of the embedding's gradient, and memory of the optimizer's kernel. */
  readonly scratch: number
  /** Activations and other values of the gradient program. */
  readonly activations: number
}

/** @param threads number of threads of the rank, each of which has scratch memory of its own */
export function rankMemory(config: RunConfig, layout: Layout, threads: number): RankMemory {
  const specs = parameterSpecs(config.model)
  const held = heldSpecs(specs, layout)
  const floats = (some: readonly ParameterSpec[], of: (spec: ParameterSpec) => number = ({ shape }) => sizeOf(shape)) =>
    FLOAT_BYTES * some.reduce((sum, spec) => sum + of(spec), 0)
  const owned = ownedSpecs(specs, layout)
  const { train } = config
  const isFactored = train.optimizer.kind === 'adafactor'
  const bytes = {
    parameters: floats(held),
    gradients:
      (1 + partialSums(layout)) *
      floats(held, ({ stacked, shape }) => sizeOf(shape) * (stacked ? sourcesKept(layout) : 1)),
    optimizer: isFactored
      ? floats(owned, ({ shape }) => factoredSize(shape))
      : FLOAT_BYTES * stateFloats(config.train, specs, layout),
  }
  const { model, parallel } = config
  const shape = { ...parallel, ...train, sequence: model.sequence, shards: parallel.shards ?? 1 }
  // Every arena has scratch memory, and the state of Adafactor is in it.
  const scratch =
    FLOAT_BYTES *
    (gradientScratch(model, shape) + exchangeScratch(specs, layout) + (isFactored ? adafactorScratch(owned) : 0))
  const inRegions = bytes.parameters + bytes.gradients + (isFactored ? 0 : bytes.optimizer)
  const arenas = Math.ceil(inRegions / (MAX_ARENA_BYTES - scratch))
  return {
    ...bytes,
    scratch: arenas * scratch - (isFactored ? bytes.optimizer : 0),
    activations: FLOAT_BYTES * programFloats(config, layout, threads),
  }
}

/** Floats of the optimizer's state in regions of the store that a rank owns, without padding between parameters. */
function stateFloats(train: RunConfig['train'], specs: readonly ParameterSpec[], layout: Layout): number {
  const owned = sharesOf(heldSpecs(specs, layout), layout).filter(({ owner }) => owner === layout.rank)
  const sum = (floats: (share: (typeof owned)[number]) => number) =>
    owned.reduce((total, share) => total + floats(share), 0)
  const { kind, state } = train.optimizer
  if (kind === 'own') {
    const rule = ruleOf(train)
    return sum((share) => ownStateFloats(rule, share))
  }
  const [regions, compact] = state === 'float32' ? [2, null] : [1, state]
  return regions * sum((share) => momentFloats(share, compact, layout))
}

/** Numbers of floats of a layer's values, by the time for which they are kept. */
interface LayerValues {
  /** Values kept from the layer's forward pass to its backward pass. */
  readonly kept: number
  /** Values kept from its backward pass to the end of the program: gradients that are copied to their places then. */
  readonly left: number
  /** Values of its backward pass only. */
  readonly transient: number
}

function programFloats(config: RunConfig, layout: Layout, threads: number): number {
  const { model } = config
  const { width, vocabulary, layers, moe } = model
  const tokens = sequencesOfPass(config) * model.sequence
  const each = Array.from({ length: layers }, (_, layer) => layerValues(config, layer, tokens, layout, threads))
  const sum = (some: readonly LayerValues[], of: (values: LayerValues) => number) =>
    some.reduce((total, values) => total + of(values), 0)
  const stream = tokens * width
  // The head adds the logits, the input and the result of the last norm, and the gradient of one of these two.
  const head = sum(each, ({ kept }) => kept) + tokens * vocabulary + 3 * stream
  const backward = each.map(
    ({ transient }, layer) =>
      sum(each.slice(0, layer + 1), ({ kept }) => kept) + sum(each.slice(layer + 1), ({ left }) => left) + transient,
  )
  const gated = model.activation === 'swiglu'
  const hidden = moe ? moe.hidden : 0
  const scratch = moe ? PIECE * ((gated ? 5 : 3) * hidden + width) + waitingSums(config, moe, layout, threads) : 0
  return Math.max(head, ...backward) + threads * scratch
}

function layerValues(config: RunConfig, layer: number, tokens: number, layout: Layout, threads: number): LayerValues {
  const { model } = config
  const { width, heads, moe, hidden, activation, queryKeyNorm } = model
  const inner = activation === 'swiglu' ? 5 : 3
  const stream = tokens * width
  const routed = routedModules(model, layer)
  const mixtures = moe ? routed.map((module) => mixtureValues(config, moe, module, tokens, layout, threads)) : []
  const dense = (columns: number) => inner * tokens * columns
  const { queries, keys } = attentionColumns(model)
  // With norms, queries and keys are there before and after them, and once more with the values, as attention reads
  // them.
  const normedKeys = queryKeyNorm === 'none' ? 0 : 2 * queries + 3 * keys
  // A norm has its input and result; attention has queries, keys, values and result, and a number for each row of
  // scores.
  const attention = 2 * stream + tokens * (2 * queries + 2 * keys + heads + normedKeys)
  const network = routed.includes('ffn') ? dense(moe?.sharedHidden ?? 0) : dense(hidden)
  const most = (of: (values: LayerValues) => number) => Math.max(0, ...mixtures.map(of))
  const total = (of: (values: LayerValues) => number) => mixtures.reduce((sum, values) => sum + of(values), 0)
  return {
    kept: attention + 2 * stream + network + total(({ kept }) => kept),
    left: total(({ left }) => left),
    transient: 3 * stream + most(({ transient }) => transient),
  }
}

/** Values of a router and its experts. */
function mixtureValues(
  config: RunConfig,
  moe: MoeConfig,
  module: RoutedModule,
  tokens: number,
  layout: Layout,
  threads: number,
): LayerValues {
  const { activation } = config.model
  const { rows, arriving } = rowsOf(moe, tokens, layout)
  const isNetwork = module === 'ffn'
  const { inputs, outputs } = moduleWidths(config.model, module)
  const inner = isNetwork ? (activation === 'swiglu' ? 2 : 1) * moe.hidden : 0
  const parameters = isNetwork ? networkFloats(config, moe) : inputs * outputs
  const held = moe.experts / layout.expert
  // If each expert has several sums of gradients, these are values of the program, and so is their total.
  const sums = sumsOfExpert(moe, layout, threads)
  return {
    // The program keeps rows as experts read them, inner values and results of experts, and the router's logits and
    // probabilities.
    kept: arriving * (inputs + inner) + rows * outputs + (hasRouterWeights(moe) ? 2 * tokens * moe.experts : 0),
    left: sums > 1 ? held * parameters : 0,
    transient: 2 * arriving * Math.max(inputs, outputs) + (sums > 1 ? held * sums * parameters : 0),
  }
}

const networkFloats = ({ model: { width, activation } }: RunConfig, { hidden }: MoeConfig): number =>
  (activation === 'swiglu' ? 3 : 2) * width * hidden

/** Number of source ranks whose gradients of an expert a kernel adds up; 1 if the program does not add them. */
const addedSources = ({ experts }: MoeConfig, layout: Layout, threads: number): number =>
  layout.reproducible && layout.expert > 1 && sourcesKept(layout) === 1
    ? sourcesOfSum(layout.expert, experts / layout.expert, threads)
    : 1

/** Number of sums of an expert's gradients that a kernel leaves to be added. */
const sumsOfExpert = (moe: MoeConfig, layout: Layout, threads: number): number =>
  layout.reproducible && sourcesKept(layout) === 1 ? Math.ceil(layout.expert / addedSources(moe, layout, threads)) : 1

/** Floats of sums of an expert's gradients that wait for others, in the scratch memory of a thread. */
const waitingSums = (config: RunConfig, moe: MoeConfig, layout: Layout, threads: number): number =>
  counterSums(addedSources(moe, layout, threads)) * networkFloats(config, moe)

const choicesOf = (moe: MoeConfig): number => (moe.router === 'expert-choice' ? moe.experts : activatedExperts(moe))

/** The number to a multiple of which the rows of an expert are padded. @param tokens tokens of a pass */
export function tileOf(moe: MoeConfig, tokens: number): number {
  const capacity = capacityOf(moe, tokens / moe.groups, 'train') ?? Number.POSITIVE_INFINITY
  return tileFor(Math.min(tokens * choicesOf(moe), capacity * moe.experts) / moe.experts, TILE)
}

/**
 * Numbers of rows for which a pass has room, padding included: `rows` for the choices of this rank's tokens, `arriving`
 * for the tokens of all ranks that choose an expert of this rank.
 */
function rowsOf(moe: MoeConfig, tokens: number, { expert, headroom }: Layout): { rows: number; arriving: number } {
  const { experts, groups } = moe
  const most = tokens * choicesOf(moe)
  const capacity = capacityOf(moe, tokens / groups, 'train')
  const slots = Math.min(most, experts * groups * (capacity ?? Number.POSITIVE_INFINITY))
  const padding = experts * (tileOf(moe, tokens) - 1)
  const rows = slots + padding
  if (expert === 1) return { rows, arriving: rows }
  const arriving =
    capacity === null
      ? Math.min(expert * most, Math.ceil(most * headroom))
      : expert * Math.min(most, (experts / expert) * groups * capacity)
  return { rows, arriving: arriving + padding }
}
