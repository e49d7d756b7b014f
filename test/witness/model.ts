/**
 * The independent witness: the forward loss of a sparse expert language model, computed in float64 by
 * loops that follow the definitions one by one, sharing no code with the model under test (only its
 * configuration). It is slow on purpose: nothing here is fused, batched or cached, so each line can be
 * checked against the formula it states.
 */
import type { ModelConfig } from '../../src/core/model/config.ts'
import type { CapacityRule } from '../../src/core/model/routing/contract.ts'
import { balanceLoss, crossEntropy, routerEntropy, routerZLoss } from './losses.ts'
import { checkParameters, type Parameters } from './parameters.ts'
import type { Routing } from './routing.ts'
import { type Routed, transformer } from './transformer.ts'

export type { Parameters } from './parameters.ts'
export type { Routed } from './transformer.ts'

export interface WitnessInput {
  readonly config: ModelConfig
  readonly parameters: Parameters
  /** [B·S] token ids, sequence after sequence. */
  readonly tokens: Int32Array
  /** [B·S] ids to predict; −1 = not counted. */
  readonly targets: Int32Array
  /** Number of sequences, B. */
  readonly batch: number
  /** Whether routers choose as in training. */
  readonly training: boolean
  /** The capacity rule; default: `train` in training, else `eval`. */
  readonly capacity?: CapacityRule
  /** [T·K] expert ids, for the hash and random routers. */
  readonly choices?: ReadonlyMap<Routed, Int32Array>
  /** Id that opens a document, if attention does not cross documents. */
  readonly separator?: number
}

export interface LayerStatistics {
  /** Assignments to each expert before drops, over all groups. */
  readonly counts: number[]
  /** Assignments that were kept. */
  readonly kept: number[]
  /** Seats of an expert in one group; null = no limit. */
  readonly capacity: number | null
  /** Mean entropy of the router's distribution, nats. */
  readonly entropy: number
  /** Mean over tokens of the sum of the gates of their kept assignments. */
  readonly gate: number
  /** Share of tokens that no expert computed. */
  readonly unserved: number
  /** Load-balancing loss before its coefficient. */
  readonly balance: number
  /** Router z-loss before its coefficient. */
  readonly zLoss: number
}

export interface WitnessOutput {
  /** Cross-entropy, nats per counted target. */
  readonly loss: number
  /** The objective of training: loss plus the weighted losses of every router. */
  readonly total: number
  /** [T, V], row-major. */
  readonly logits: Float64Array
  /** Statistics of every router: sparse layers by index, and projections of their attention. */
  readonly layers: Map<Routed, LayerStatistics>
}

/** Losses, logits and statistics of a case. @throws if parameters, lengths or choices do not fit the configuration. */
export function witnessForward(input: WitnessInput): WitnessOutput {
  const { parameters, tokens, targets, batch, training, capacity = training ? 'train' : 'eval' } = input
  const config = capacity === 'none' ? withTokensChoosing(input.config) : input.config
  const { moe } = config
  checkParameters(config, parameters)
  if (targets.length !== tokens.length)
    throw new Error(`invalid targets: ${targets.length} (expected one for each of ${tokens.length} tokens)`)
  if (tokens.length % batch !== 0 || tokens.length / batch > config.sequence)
    throw new Error(`invalid tokens: ${tokens.length} (expected ${batch} sequences of at most ${config.sequence})`)

  const { logits_TV, routings } = transformer({ ...input, config, capacity })
  const loss = crossEntropy(logits_TV, targets)
  const layers = new Map<Routed, LayerStatistics>()
  let total = loss
  if (moe)
    for (const [layer, routing] of routings) {
      const balance = balanceLoss(routing, moe)
      const zLoss = routerZLoss(routing)
      total += moe.balance.coefficient * balance + moe.zLoss * zLoss
      layers.set(layer, {
        counts: loads(routing, moe.experts, false),
        kept: loads(routing, moe.experts, true),
        capacity: routing.capacity,
        entropy: routerEntropy(routing, moe),
        gate: meanTotalGate(routing, tokens.length),
        unserved: unservedShare(routing, tokens.length),
        balance,
        zLoss,
      })
    }
  return { loss, total, logits: Float64Array.from(logits_TV.flat()), layers }
}

/** Without a capacity limit every expert would take every token, so each token takes its k best experts instead. */
function withTokensChoosing(config: ModelConfig): ModelConfig {
  if (config.moe?.router !== 'expert-choice') return config
  return { ...config, moe: { ...config.moe, router: 'top-k' } }
}

function unservedShare({ assignments }: Routing, tokens: number): number {
  const served = new Set(assignments.filter(({ kept }) => kept).map(({ token }) => token))
  return (tokens - served.size) / tokens
}

function meanTotalGate({ assignments }: Routing, tokens: number): number {
  const totals = Array.from({ length: tokens }, () => 0)
  for (const { token, gate, kept } of assignments) if (kept) totals[token] = (totals[token] as number) + gate
  return totals.reduce((sum, total) => sum + total) / tokens
}

/** Assignments to each expert: all of them, or only those kept. */
function loads({ assignments }: Routing, experts: number, keptOnly: boolean): number[] {
  return Array.from(
    { length: experts },
    (_, expert) => assignments.filter((a) => a.expert === expert && (a.kept || !keptOnly)).length,
  )
}
