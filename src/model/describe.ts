/** What a model amounts to: parameters and arithmetic, counted from its configuration alone. */
import { type Shape, sizeOf } from '../graph/index.ts'
import type { ModelConfig } from './config.ts'
import { activatedExperts, isSparse, parameterSpecs } from './parameters.ts'

export interface ModelDescription {
  readonly parameters: number
  /** Parameters that one token uses: with k experts of a sparse layer instead of N. */
  readonly activeParameters: number
  /** Floating-point operations to train on one token (forward and backward), when nothing is dropped. */
  readonly flopsPerToken: number
  /** The part of it that is not in routed experts. */
  readonly denseFlopsPerToken: number
  /** Operations to train on one assignment of a token to an expert. */
  readonly flopsPerAssignment: number
  readonly sparseLayers: number
  readonly tensors: readonly { readonly name: string; readonly shape: Shape; readonly parameters: number }[]
}

/** Forward is one multiply and one add a weight; backward is twice that. */
const FLOPS_PER_WEIGHT = 6

/**
 * Counts matmuls only, as is usual for model FLOPs (PaLM, appendix B): 6 a weight that multiplies the
 * token, and 12·S·D a layer for attention scores and values over the whole sequence.
 */
export function describeModel(config: ModelConfig): ModelDescription {
  const { moe, width, layers, sequence } = config
  const specs = parameterSpecs(config)
  const count = (chosen: (name: string) => boolean) =>
    specs.reduce((total, { name, shape }) => total + (chosen(name) ? sizeOf(shape) : 0), 0)
  const isExpert = (name: string) => name.includes('.experts.')
  const isLookup = (name: string) => name === 'positions' || (name === 'embedding' && !config.tied)

  const sparseLayers = Array.from({ length: layers }, (_, layer) => isSparse(config, layer)).filter(Boolean).length
  const expertParameters = moe && sparseLayers > 0 ? count(isExpert) / sparseLayers / moe.experts : 0
  const assignments = moe ? activatedExperts(moe) * sparseLayers : 0
  const matrices = count((name) => !isExpert(name) && !isLookup(name) && !isVector(name))

  const denseFlopsPerToken = FLOPS_PER_WEIGHT * matrices + layers * 12 * sequence * width
  const flopsPerAssignment = FLOPS_PER_WEIGHT * expertParameters
  return {
    parameters: count(() => true),
    activeParameters: count((name) => !isExpert(name)) + expertParameters * assignments,
    flopsPerToken: denseFlopsPerToken + flopsPerAssignment * assignments,
    denseFlopsPerToken,
    flopsPerAssignment,
    sparseLayers,
    tensors: specs.map(({ name, shape }) => ({ name, shape, parameters: sizeOf(shape) })),
  }
}

const isVector = (name: string): boolean => /(^|\.)(norm(\.bias)?|router\.bias)$/.test(name)
