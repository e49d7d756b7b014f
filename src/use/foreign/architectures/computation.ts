/** Compares what two configurations compute in evaluation without capacity. Settings of training are left out. */
import { type Fields, isFields } from '../../../core/config/fields.ts'
import type { MoeConfig } from '../../../core/model/config/moe-config.ts'
import {
  attentionScaleOf,
  embeddingScaleOf,
  headScaleOf,
  headWidthOf,
  type ModelConfig,
  windowOf,
} from '../../../core/model/config.ts'
import { isSparse, parameterSpecs } from '../../../core/model/parameters.ts'

/** The fields that change what a model computes. Different ways of writing the same computation become equal. */
export function computationOf(model: ModelConfig): Fields {
  const { vocabulary, layers, width, heads, sequence, positions, moe } = model
  const all = Array.from({ length: layers }, (_, layer) => layer)
  return {
    vocabulary,
    layers,
    width,
    heads,
    keyValueHeads: model.keyValueHeads ?? heads,
    headWidth: headWidthOf(model),
    queryKeyNorm: model.queryKeyNorm,
    attentionBias: model.attentionBias,
    attentionScale: attentionScaleOf(model),
    window: all.map((layer) => windowOf(model, layer)),
    sequence,
    positions,
    ...(positions === 'rotary' && { rotaryBase: model.rotaryBase, rotaryScaling: model.rotaryScaling }),
    norm: model.norm,
    normEpsilon: model.normEpsilon,
    activation: model.activation,
    ...(hasDenseLayer(model) && { hidden: model.hidden }),
    tied: model.tied,
    embeddingScale: embeddingScaleOf(model),
    headScale: headScaleOf(model),
    residualScale: model.residualScale,
    sparse: all.filter((layer) => isSparse(model, layer)),
    moe: moe && routingOf(moe),
  }
}

const hasDenseLayer = (model: ModelConfig): boolean =>
  parameterSpecs(model).some(({ name }) => name.endsWith('.ffn.up'))

function routingOf(moe: MoeConfig): Fields {
  const { experts, hidden, sharedHidden, sharedGate, attention, k, scores, expertGroups } = moe
  const isGrouped = expertGroups > 1 && moe.groupsPerToken < expertGroups
  // In evaluation, switch and sinkhorn compute the same as top-k, and so does prototype with a single prototype.
  const router = { switch: 'top-k', sinkhorn: 'top-k', prototype: moe.prototypes === 1 ? 'top-k' : 'prototype' }
  return {
    experts,
    hidden,
    sharedHidden,
    sharedGate: sharedHidden > 0 && sharedGate,
    attention,
    router: Object.hasOwn(router, moe.router) ? router[moe.router as keyof typeof router] : moe.router,
    prototypes: moe.prototypes,
    k,
    scores,
    ...(isGrouped && { expertGroups, groupsPerToken: moe.groupsPerToken, groupScore: moe.groupScore }),
    // A softmax over the chosen logits is the softmax over all logits, divided by its sum over the chosen ones.
    renormalize: moe.renormalize || moe.softmax === 'after',
    routedScale: moe.routedScale,
  }
}

/** Fields by path that differ between two models. */
export function differences(from: unknown, to: unknown, field = ''): { field: string; from: unknown; to: unknown }[] {
  if (isFields(from) && isFields(to)) {
    const keys = new Set([...Object.keys(from), ...Object.keys(to)])
    return [...keys].flatMap((key) => differences(from[key], to[key], field === '' ? key : `${field}.${key}`))
  }
  if (typeof from === 'number' && typeof to === 'number')
    return Math.abs(from - to) <= 1e-12 * Math.abs(from) ? [] : [{ field, from, to }]
  return JSON.stringify(from) === JSON.stringify(to) ? [] : [{ field, from, to }]
}
