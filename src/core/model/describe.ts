/** Parameters and floating-point operations of a model, counted from its configuration. */
import type { Shape } from '../graph/model.ts'
import { productFlops, tablesOf } from '../graph/product-flops.ts'
import { sizeOf } from '../graph/shape.ts'
import { input, type Tensor, withKernels } from '../graph/tensor.ts'
import { attentionColumns, type ModelConfig, windowOf } from './config.ts'
import {
  activatedExperts,
  isOwnLayer,
  moduleName,
  moduleWidths,
  ownLayerName,
  parameterSpecs,
  type RoutedModule,
  routedModules,
  SymbolicParameters,
} from './parameters.ts'
import { route, routerWeights } from './routing/routers.ts'
import { ownLayer } from './transformer.ts'

export interface ModelDescription {
  readonly parameters: number
  /**
   * Parameters that one token uses: of each router's N experts, only those that the token activates, and of a layer of
   * the user's own all.
   */
  readonly activeParameters: number
  /**
   * Active parameters without tables that are only read by row: positions, the embedding unless it is tied to the head,
   * and such tables of routers and layers of the user's own.
   */
  readonly computingParameters: number
  /** Floating-point operations to train on one token (forward and backward) if nothing is dropped. */
  readonly flopsPerToken: number
  /**
   * The part of `flopsPerToken` that causal attention masks, 6·(S−1)·H·d per layer: on average a token sees (S+1)/2 of
   * S keys. It is counted nevertheless, as PaLM does; kernels compute little of it. With a window W < S it is the
   * W(W−1)/2 pairs of one of the first tokens and a key before the beginning of the sequence.
   */
  readonly maskedFlopsPerToken: number
  /** The part of `flopsPerToken` outside routed experts. */
  readonly denseFlopsPerToken: number
  /** Operations to train on one assignment of a token to an expert, by module; 0 for modules that are not routed. */
  readonly flopsPerAssignment: Readonly<Record<RoutedModule, number>>
  readonly tensors: readonly { readonly name: string; readonly shape: Shape; readonly parameters: number }[]
}

/** Forward takes one multiply and one add per weight; backward takes twice that. */
const FLOPS_PER_WEIGHT = 6

/**
 * Counts matmuls only, as is usual for model FLOPs (PaLM, appendix B): 6 per weight that multiplies the
 * token, and 12·S·H·d per layer for attention scores and values over the whole sequence, including the masked half;
 * 12·W·H·d for a window of W < S positions. Of routers and layers of the user's own, it counts the matrix products of
 * the graph of one sequence, three times: forward, and backward twice.
 */
export function describeModel(config: ModelConfig): ModelDescription {
  const { moe, layers, sequence } = config
  const specs = parameterSpecs(config)
  const count = (matches: (name: string, shape: Shape) => boolean) =>
    specs.reduce((total, { name, shape }) => total + (matches(name, shape) ? sizeOf(shape) : 0), 0)
  const isExpert = (name: string) => name.includes('.experts.')

  const routed = Array.from({ length: layers }, (_, layer) =>
    routedModules(config, layer).map((module) => ({ layer, module })),
  ).flat()
  const expertSize = ({ layer, module }: (typeof routed)[number]) =>
    count((name) => name.startsWith(`${moduleName(layer, module)}.experts.`)) / (moe?.experts ?? 1)
  /** Parameters of all experts that a token activates. */
  const activated = routed.reduce((total, each) => total + expertSize(each), 0) * (moe ? activatedExperts(moe) : 0)
  const perAssignment = (module: RoutedModule): number => {
    const one = routed.find((each) => each.module === module)
    return one ? FLOPS_PER_WEIGHT * expertSize(one) : 0
  }
  const own = ownParts(config, routed)
  const isOwn = (name: string) => own.prefixes.some((prefix) => name === prefix || name.startsWith(`${prefix}.`))
  const isLookup = (name: string) =>
    name === 'positions' || (name === 'embedding' && !config.tied) || own.tables.has(name)
  const matrices = count((name, shape) => !isExpert(name) && !isLookup(name) && !isOwn(name) && shape.length > 1)
  /** Keys of a token in each layer, as if every token saw as many as the last one does. */
  const keys = Array.from({ length: layers }, (_, layer) => Math.min(sequence, windowOf(config, layer) ?? sequence))
  const flopsOfKeys = (count: (seen: number) => number) =>
    keys.reduce((total, seen) => total + 12 * count(seen), 0) * attentionColumns(config).queries
  const denseFlopsPerToken = FLOPS_PER_WEIGHT * matrices + flopsOfKeys((seen) => seen) + own.flopsPerToken
  const activeParameters = count((name) => !isExpert(name)) + activated
  return {
    parameters: count(() => true),
    activeParameters,
    computingParameters: activeParameters - count(isLookup),
    flopsPerToken: denseFlopsPerToken + FLOPS_PER_WEIGHT * activated,
    maskedFlopsPerToken: flopsOfKeys((seen) => (seen * (seen - 1)) / (2 * sequence)),
    denseFlopsPerToken,
    flopsPerAssignment: {
      ffn: perAssignment('ffn'),
      qkv: perAssignment('qkv'),
      output: perAssignment('output'),
    },
    tensors: specs.map(({ name, shape }) => ({ name, shape, parameters: sizeOf(shape) })),
  }
}

/** The routers and layers of the user's own, by the graph of one sequence. */
function ownParts(
  config: ModelConfig,
  routed: readonly { readonly layer: number; readonly module: RoutedModule }[],
): { readonly prefixes: readonly string[]; readonly flopsPerToken: number; readonly tables: ReadonlySet<string> } {
  const { moe, layers, sequence, width } = config
  const parameters = new SymbolicParameters(parameterSpecs(config), 'float32')
  const tokens_T = input('tokens', 'int32', [sequence])
  const activations = (columns: number) => input('x', 'float32', [sequence, columns])
  const pass = { sequence, training: true }
  const routers =
    moe?.router === 'own'
      ? routed.map(({ layer, module }) => {
          const prefix = `${moduleName(layer, module)}.router`
          const { inputs } = moduleWidths(config, module)
          const trace = () => {
            const weights = routerWeights({ moe, width: inputs }, parameters, prefix)
            // One sequence may have fewer tokens than there are groups.
            const one = { ...moe, groups: 1 }
            const { expert_TK, gate_TK } = route({ moe: one, x_TD: activations(inputs), weights, tokens_T, ...pass })
            return [expert_TK, gate_TK]
          }
          return { prefix, trace }
        })
      : []
  const ownLayers = Array.from({ length: layers }, (_, layer) => layer)
    .filter((layer) => isOwnLayer(config, layer))
    .map((layer) => ({
      prefix: ownLayerName(layer),
      trace: () => [ownLayer(config, parameters, layer, activations(width), tokens_T, pass).y_TD],
    }))
  const parts = [...routers, ...ownLayers]
  const kernels = { names: new Set<string>(), tile: 1, threads: 1, parts: 1 }
  const outputs = withKernels(kernels, () => parts.map(({ trace }): readonly Tensor[] => trace()))
  return {
    prefixes: parts.map(({ prefix }) => prefix),
    flopsPerToken: outputs.reduce((total, each) => total + (3 * productFlops(each)) / sequence, 0),
    tables: tablesOf(outputs.flat()),
  }
}
