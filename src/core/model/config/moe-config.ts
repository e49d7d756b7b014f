/**
 * The configuration of sparse expert layers: every option with its default. It is pure data: nothing here knows how a
 * layer is computed.
 */
import { z } from 'zod'
import { PLUGIN_ID } from '../../plugins.ts'
import { floats, sizes } from './limits.ts'
import { settingsSchema } from './plugin-settings.ts'

const positive = z.int().positive()
const nonNegative = floats.nonNegative

/** A balancing loss: `coefficient` times the named form; 0 turns it off. */
const balanceSchema = z
  .strictObject({
    /**
     * `switch`: N · Σ f_i · P_i with f_i the share of all assignments (Switch Transformers, eq. 4).
     * `gshard`: the same formula with f_i the share of first choices only (GShard, algorithm 1).
     */
    form: z.enum(['switch', 'gshard', 'own']).meta({ file: './my-loss.ts' }).default('switch'),
    /** Name and hash of the form `own`; set when `form` is the path of a file. */
    own: z.string().regex(PLUGIN_ID).nullable().default(null),
    coefficient: nonNegative.default(0.01),
  })
  .prefault({})

export const moeSchema = z.strictObject({
  /** One sparse layer in every `every` layers, the last of them; the others are dense. */
  every: positive.default(1),
  /** Number of layers before the first period of `every`, all dense (DeepSeek-V3: `first_k_dense_replace`). */
  from: z.int().nonnegative().default(0),
  /** Experts in a layer, N. */
  experts: sizes.experts.default(8),
  /** Hidden width of an expert, F. */
  hidden: sizes.width.default(1024),
  /** Hidden width of a shared expert that every token uses besides its routed ones; 0 = none. */
  sharedHidden: z
    .int()
    .nonnegative()
    .max(2 ** 20)
    .default(0),
  /** Whether the output of the shared expert is multiplied by sigmoid(x·w), a number for each token (Qwen2-MoE). */
  sharedGate: z.boolean().default(false),
  /**
   * Experts in the attention of sparse layers (M6-T, "MoE attention"): N for the projection to queries, keys
   * and values (`qkv`), or for the output projection too (`all`), each module with its own router.
   */
  attention: z.enum(['none', 'qkv', 'all']).default('none'),
  /**
   * How experts are chosen; docs/routing.md has the formulas. `expert-choice` sees later tokens of the batch,
   * which a causal language model must not: its losses are better than the text it can generate.
   */
  router: z
    .enum(['top-k', 'switch', 'prototype', 'sinkhorn', 'bias', 'expert-choice', 'hash', 'random', 'own'])
    .meta({ file: './my-router.ts' })
    .default('top-k'),
  /**
   * Name and hash of the router `own`, as `my-router@0123456789abcdef`. It is set when `router` is the path of a file.
   */
  own: z.string().regex(PLUGIN_ID).nullable().default(null),
  /** Settings of the router `own`, by name; it has defaults. */
  settings: settingsSchema.default({}),
  /**
   * Experts that a token activates: k, or k' in every prototype for the `prototype` router. With
   * `expert-choice`, the mean at capacity factor 1; in generation, the exact number.
   */
  k: positive.default(1),
  /** Prototypes Z of the `prototype` router: groups of N/Z experts, each with its own router. */
  prototypes: positive.default(1),
  /** How the k largest scores are found: one `fused` top-k, or k `sequential` arg-max passes (GShard, M6-T). */
  selection: z.enum(['fused', 'sequential']).default('fused'),
  /** Seed of the tables of the `hash` router, from 0. A study sets it to the seed of the run. */
  hashSeed: z.int().nonnegative().default(0),
  /**
   * How the `hash` router chooses k ≥ 2 experts of a token: each from a shuffled order of its own (`independent`), or
   * the first from a shuffled order and the others by the next numbers (`consecutive`: runs of earlier versions), which
   * gives only N groups of experts.
   */
  hashChoices: z.enum(['independent', 'consecutive']).default('independent'),
  /** Rounds of normalisation over experts and tokens in the `sinkhorn` router. */
  sinkhornIterations: sizes.iterations.default(8),
  /** Step u of the biases of the `bias` router (Wang et al. 2024); 0 leaves them at zero. */
  biasRate: nonNegative.default(0.001),
  /**
   * Affinity of a token to an expert: the softmax of its logits, or the sigmoid of each logit (DeepSeek-V3, eq. 15).
   */
  scores: z.enum(['softmax', 'sigmoid']).default('softmax'),
  /** Equal consecutive groups of experts, of which a token may use `groupsPerToken` (DeepSeek-V2, section 2.1.3). */
  expertGroups: positive.default(1),
  groupsPerToken: positive.default(1),
  /** A group is as good as its best expert (`max`: DeepSeek-V2), or as its best two together (`top-2`: DeepSeek-V3). */
  groupScore: z.enum(['max', 'top-2']).default('max'),
  /** Whether the softmax runs over all experts `before` the choice of k, or over the k chosen experts `after` it. */
  softmax: z.enum(['before', 'after']).default('before'),
  /** Whether a token's gates are divided by their sum in each prototype; with softmax `after` the sum is 1 already. */
  renormalize: z.boolean().default(false),
  /** Factor of the gates of routed experts (DeepSeek: `routed_scaling_factor`). */
  routedScale: floats.positive.default(1),
  /** `kx`: C = K·T/N·factor with K = k·prototypes. `1x`: C = T/N·factor whatever K (M6-T). `none`: dropless. */
  capacity: z.enum(['1x', 'kx', 'none']).default('kx'),
  /** Capacity factor γ in training. */
  factor: floats.positive.default(1.25),
  /** Capacity factor γ in evaluation. */
  evalFactor: floats.positive.default(2),
  /**
   * Which choices are served first when an expert is full. `position`: earlier positions, of all sequences equally;
   * no token's service depends on a later position. The others serve the batch as one queue: all first choices
   * first (`choice`), earlier tokens first, sequence after sequence (`token`), larger gates first (`gate`).
   */
  priority: z.enum(['position', 'choice', 'token', 'gate']).default('position'),
  /** Number of positions whose even load an expert can save in unused places, with priority `position`. */
  window: positive.default(16),
  /** Number of equal groups of tokens; capacity is enforced and router losses are computed within each. */
  groups: positive.default(1),
  balance: balanceSchema,
  /** Coefficient of the router z-loss, mean of logsumexp(logits)² (ST-MoE, eq. 5); 0 = off. */
  zLoss: nonNegative.default(0.001),
  /**
   * `padded`: one batched matmul over N × C slots. `ragged`: one matmul per expert over its own rows.
   * `auto`: padded for capacity 1x, else ragged. The results are the same; only the speed differs.
   */
  compute: z.enum(['auto', 'padded', 'ragged']).default('auto'),
})

export type MoeConfig = z.output<typeof moeSchema>

/** The modules that a sparse layer may route, each with its own router and N experts. */
export type RoutedModule = 'ffn' | 'qkv' | 'output'

export const modulesWith: Record<MoeConfig['attention'], readonly RoutedModule[]> = {
  none: ['ffn'],
  qkv: ['qkv', 'ffn'],
  all: ['qkv', 'output', 'ffn'],
}

/** Prefix of the names of a routed module's parameters. */
export const moduleName = (layer: number, module: RoutedModule): string =>
  module === 'ffn' ? `layers.${layer}.moe` : `layers.${layer}.attention.${module}`

/** Number of experts that one token activates in a layer: k times the prototypes; with `expert-choice` the mean. */
export const activatedExperts = (moe: MoeConfig): number => moe.k * moe.prototypes

/** Routers that score experts, so that an expert that is given by a record of routes has a gate. */
export const SCORING_ROUTERS: readonly MoeConfig['router'][] = ['top-k', 'switch', 'prototype', 'sinkhorn', 'bias']

/** Refuses a field, by its path in the section, with a reason. */
type Refuse = (field: (string | number)[], message: string) => void

/** Refuses combinations of settings that have no meaning. */
export function checkMoe(moe: MoeConfig, refuse: Refuse): void {
  if (moe.router === 'own' && moe.own === null)
    refuse(['router'], 'must be the path of the file of your router, such as ./my-router.ts')
  if (moe.router !== 'own' && moe.own !== null) refuse(['own'], 'must be null unless router is "own"')
  if (moe.router !== 'own' && Object.keys(moe.settings).length > 0)
    refuse(['settings'], `must be {} for the router "${moe.router}": only a router of your own has further settings`)
  if (moe.router === 'prototype' || moe.router === 'own') {
    if (moe.experts % moe.prototypes !== 0) refuse(['prototypes'], `must divide experts ${moe.experts}`)
    else if (moe.k > moe.experts / moe.prototypes)
      refuse(['k'], `must be at most experts / prototypes = ${moe.experts / moe.prototypes}`)
  } else {
    if (moe.prototypes !== 1) refuse(['prototypes'], `must be 1 unless router is "prototype"`)
    if (moe.k > moe.experts) refuse(['k'], `must be at most experts ${moe.experts}`)
  }
  if (moe.router === 'switch' && moe.k !== 1) refuse(['k'], 'must be 1 for the switch router (use "top-k")')
  if (moe.router === 'switch' && (moe.softmax === 'after' || moe.renormalize))
    refuse(['router'], 'the switch router takes its gate from the softmax over all experts (use "top-k")')
  if (moe.balance.form === 'own' && moe.balance.own === null)
    refuse(['balance', 'form'], 'must be the path of the file of your loss, such as ./my-loss.ts')
  if (moe.balance.form !== 'own' && moe.balance.own !== null)
    refuse(['balance', 'own'], 'must be null unless balance.form is "own"')
  const routerless = moe.router === 'hash' || moe.router === 'random'
  if (routerless && moe.priority === 'gate') refuse(['priority'], `"gate" needs a learned router, not "${moe.router}"`)
  if (routerless && moe.balance.form === 'own')
    refuse(['balance', 'form'], `must be built in: the router "${moe.router}" has no distribution to balance`)
  if (moe.selection === 'sequential' && (routerless || moe.router === 'expert-choice'))
    refuse(['selection'], `must be "fused" for "${moe.router}", where tokens do not choose their best experts`)
  if (moe.router === 'expert-choice') refuseForExpertChoice(moe, refuse)
  refuseForScores(moe, refuse)
}

function refuseForScores(moe: MoeConfig, refuse: Refuse): void {
  const { router, experts, k, scores, expertGroups, groupsPerToken, groupScore } = moe
  if (moe.sharedGate && moe.sharedHidden === 0) refuse(['sharedGate'], 'must be false without a shared expert')
  if (scores === 'sigmoid') {
    if (!['top-k', 'bias', 'prototype'].includes(router))
      refuse(['scores'], `must be "softmax" for the router "${router}" (use "top-k", "bias" or "prototype")`)
    if (moe.softmax !== 'before') refuse(['softmax'], 'must be "before" with sigmoid scores, which need no softmax')
  }
  if (groupsPerToken > expertGroups) refuse(['groupsPerToken'], `must be at most expertGroups ${expertGroups}`)
  if (expertGroups === 1) return
  if (router !== 'top-k' && router !== 'bias')
    refuse(['expertGroups'], `must be 1 for the router "${router}" (use "top-k" or "bias")`)
  const size = experts / expertGroups
  if (!Number.isInteger(size)) refuse(['expertGroups'], `must divide experts ${experts}`)
  else if (k > groupsPerToken * size)
    refuse(['k'], `must be at most groupsPerToken · experts / expertGroups = ${groupsPerToken * size}`)
  else if (groupScore === 'top-2' && size < 2) refuse(['groupScore'], 'must be "max" for groups of one expert')
}

/** Refuses settings of how tokens choose, or of which choices an expert drops. */
function refuseForExpertChoice({ capacity, priority, softmax, renormalize, balance }: MoeConfig, refuse: Refuse): void {
  if (capacity === 'none')
    refuse(['capacity'], 'must be "1x" or "kx": the capacity is the number of tokens that each expert takes')
  // `choice` was once the default, so configurations of older runs contain it.
  if (priority !== 'position' && priority !== 'choice')
    refuse(['priority'], 'must be "position" (the default): each expert takes the tokens with the largest gates')
  if (softmax !== 'before') refuse(['softmax'], 'must be "before": the gate is the softmax over all experts')
  if (renormalize) refuse(['renormalize'], 'must be false: the gate is the softmax over all experts')
  if (balance.form === 'own') refuse(['balance', 'form'], 'must be "switch": every expert takes as many tokens')
  else if (balance.form !== 'switch')
    refuse(['balance', 'form'], 'must be "switch": there are no first choices to count')
}

/** Whether capacity becomes available position by position, which requires whole sequences in a group. */
export const isServedByPosition = ({ priority, capacity, router }: MoeConfig): boolean =>
  priority === 'position' && capacity !== 'none' && router !== 'expert-choice'
