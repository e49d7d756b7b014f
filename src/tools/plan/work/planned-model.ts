/** Parameters and operations of a planned model: a model of `src/core/model`, also with multi-head latent attention. */
import { sizeOf } from '../../../core/graph/shape.ts'
import { activatedExperts } from '../../../core/model/config/moe-config.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { describeModel, type ModelDescription } from '../../../core/model/describe.ts'
import { type ParameterSpec, parameterSpecs } from '../../../core/model/parameters.ts'
import type { LatentAttention } from '../inputs/settings.ts'
import { attentionShape, isWindowed, visibleKeys } from './attention.ts'

/** Every parameter, in memory order. The matrices of latent attention replace the model's matrices of attention. */
export function plannedSpecs(model: ModelConfig, latent: LatentAttention | null): ParameterSpec[] {
  const specs = parameterSpecs(model)
  if (latent === null) return specs
  const isReplaced = ({ name }: ParameterSpec) => /^layers\.\d+\.attention\.(?!norm)/.test(name)
  return specs.flatMap((spec) => {
    if (isReplaced(spec)) return []
    const layer = /^(layers\.\d+)\.attention\.norm$/.exec(spec.name)?.[1]
    return layer === undefined ? [spec] : [spec, ...latentSpecs(model, latent, `${layer}.attention`)]
  })
}

/**
 * Down- and up-projections of queries, keys and values, the norms of their latents, and the output (DeepSeek-V3,
 * section 2.1.1).
 */
function latentSpecs({ width, heads }: ModelConfig, latent: LatentAttention, prefix: string): ParameterSpec[] {
  const { queryRank, keyValueRank, headWidth, rotaryWidth, valueWidth } = latent
  const matrix = (name: string, rows: number, columns: number): ParameterSpec => ({
    name: `${prefix}.${name}`,
    shape: [rows, columns],
    init: { fanIn: rows, role: 'matrix' },
    decay: true,
    stacked: false,
  })
  const norm = (name: string, size: number): ParameterSpec => ({
    name: `${prefix}.${name}.norm`,
    shape: [size],
    init: 'ones',
    decay: false,
    stacked: false,
  })
  const queries = heads * (headWidth + rotaryWidth)
  return [
    ...(queryRank === null
      ? [matrix('query', width, queries)]
      : [matrix('query.down', width, queryRank), norm('query', queryRank), matrix('query.up', queryRank, queries)]),
    matrix('keyValue.down', width, keyValueRank + rotaryWidth),
    norm('keyValue', keyValueRank),
    matrix('keyValue.up', keyValueRank, heads * (headWidth + valueWidth)),
    matrix('output', heads * valueWidth, width),
  ]
}

export interface PlannedModel {
  /** Parameters that one token uses: k experts of each router instead of N. */
  readonly activeParameters: number
  /**
   * Operations to train on one token: 6 for each weight that multiplies it, and the operations of attention scores and
   * values over the whole sequence, the masked half included (PaLM, appendix B), or over the window.
   */
  readonly flopsPerToken: number
  /** The part of `flopsPerToken` for scores and values. */
  readonly scoreFlopsPerToken: number
  /** Operations to train on one assignment of a token to an expert, by module. */
  readonly flopsPerAssignment: ModelDescription['flopsPerAssignment']
}

export function describePlanned(model: ModelConfig, latent: LatentAttention | null): PlannedModel {
  const specs = plannedSpecs(model, latent)
  const { moe } = model
  const size = (some: readonly ParameterSpec[]) => some.reduce((sum, { shape }) => sum + sizeOf(shape), 0)
  const dense = specs.filter(({ stacked }) => !stacked)
  const activated = moe ? (size(specs.filter(({ stacked }) => stacked)) / moe.experts) * activatedExperts(moe) : 0
  const isLookup = (name: string) => name === 'positions' || (name === 'embedding' && !model.tied)
  const multiplied = dense.filter(({ name, shape }) => shape.length > 1 && !isLookup(name))
  const { heads, queryWidth, valueWidth } = attentionShape(model, latent)
  const seen = Array.from({ length: model.layers }, (_, layer) => 2 * visibleKeys(model, isWindowed(model, layer)))
  const keys = seen.reduce((sum, each) => sum + each, 0)
  const scoreFlopsPerToken = 6 * keys * heads * (queryWidth + valueWidth)
  return {
    activeParameters: size(dense) + activated,
    flopsPerToken: 6 * (size(multiplied) + activated) + scoreFlopsPerToken,
    scoreFlopsPerToken,
    flopsPerAssignment: describeModel(model).flopsPerAssignment,
  }
}
