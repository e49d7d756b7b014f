/** Parameters and floating-point operations of a model, counted from its configuration. */
import type { Shape } from '../graph/model.ts'
import { sizeOf } from '../graph/shape.ts'
import { activatedExperts, moduleName, type RoutedModule } from './config/moe-config.ts'
import { attentionColumns, type ModelConfig, windowOf } from './config.ts'
import { ownWork } from './own-work.ts'
import { parameterSpecs, routedModules } from './parameters.ts'

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
  const own = ownWork(config, 1)
  const isOwn = (name: string) => own.prefixes.some((prefix) => name === prefix || name.startsWith(`${prefix}.`))
  const isLookup = (name: string) =>
    name === 'positions' || (name === 'embedding' && !config.tied) || own.tables.has(name)
  const matrices = count((name, shape) => !isExpert(name) && !isLookup(name) && !isOwn(name) && shape.length > 1)
  /** Keys of a token in each layer, as if every token saw as many as the last one does. */
  const keys = Array.from({ length: layers }, (_, layer) => Math.min(sequence, windowOf(config, layer) ?? sequence))
  const flopsOfKeys = (count: (seen: number) => number) =>
    keys.reduce((total, seen) => total + 12 * count(seen), 0) * attentionColumns(config).queries
  const denseFlopsPerToken =
    FLOPS_PER_WEIGHT * matrices + flopsOfKeys((seen) => seen) + (3 * own.productFlops) / sequence
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
