/** Settings of sparse layers that several architectures share. */
import type { Fields } from '../../../core/config/fields.ts'
import { formatValue } from '../../../core/config/problems.ts'
import { UsageError } from '../../../core/errors.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { isSparse } from '../../../core/model/parameters.ts'
import type { Setting } from './contract.ts'
import { always, counts, flags, given, naturals, same, valueAt } from './settings.ts'

/** Each token goes to k experts, chosen among all experts by the softmax of their logits. */
export const topKSettings = (experts: string): Setting[] => [
  same(experts, 'moe.experts'),
  same('num_experts_per_tok', 'moe.k'),
  always({ moe: { router: 'top-k', scores: 'softmax' } }),
  auxiliaryLoss,
]

/** The coefficient is not read: their loss counts all layers as one, whereas ours is added layer by layer. */
const auxiliaryLoss: Setting = {
  keys: ['router_aux_loss_coef'],
  read: () => ({}),
  write: ({ moe }) => ({ router_aux_loss_coef: moe?.balance.coefficient ?? 0 }),
}

/** Whether the gates of a token are divided by their sum. */
export const renormalized: Setting = same('norm_topk_prob', 'moe.renormalize', flags, false)

/** Gates that always sum to 1. A softmax over only the chosen logits gives the same numbers. */
export const alwaysRenormalized: Setting = always({ moe: { softmax: 'before', renormalize: true } })

/**
 * Qwen's sparse layers: a layer is sparse if its number (from 1) is a multiple of `decoder_sparse_step`, unless
 * `mlp_only_layers` lists its index (from 0).
 */
export const sparseByStep: Setting = {
  keys: ['decoder_sparse_step', 'mlp_only_layers'],
  read(config) {
    const step = valueAt<number>(config, 'decoder_sparse_step', counts, 1)
    const dense = given(config, 'mlp_only_layers') ?? []
    if (!Array.isArray(dense) || !dense.every(naturals.accepts))
      throw new UsageError(`config.json: invalid mlp_only_layers: ${formatValue(dense)} (expected numbers of layers)`)
    return sparseFields(config, (layer) => (layer + 1) % step === 0 && !dense.includes(layer))
  },
  write: (model) => ({
    decoder_sparse_step: 1,
    mlp_only_layers: layersOf(model).filter((layer) => !isSparse(model, layer)),
  }),
}

/** DeepSeek's sparse layers, which follow its dense layers. @param frequency Key of n: only every n-th is sparse. */
export const sparseAfterFirst = (frequency?: string): Setting => ({
  keys: ['first_k_dense_replace', ...(frequency ? [frequency] : [])],
  read(config) {
    const from = valueAt<number>(config, 'first_k_dense_replace', naturals, 0)
    const every = frequency ? valueAt<number>(config, frequency, counts, 1) : 1
    return sparseFields(config, (layer) => layer >= from && layer % every === 0)
  },
  write: ({ moe }) => ({ first_k_dense_replace: moe?.from ?? 0, ...(frequency && { [frequency]: moe?.every ?? 1 }) }),
})

/** DeepSeek's n shared experts, which are one network that is n times as wide as a routed expert. */
export const sharedExperts: Setting = {
  keys: ['n_shared_experts'],
  read(config) {
    const shared = valueAt<number>(config, 'n_shared_experts', naturals, 0)
    return { moe: { sharedHidden: shared * valueAt<number>(config, 'moe_intermediate_size', counts) } }
  },
  write: ({ moe }) => ({ n_shared_experts: moe ? Math.floor(moe.sharedHidden / moe.hidden) : 0 }),
}

/** All layers are sparse, so no key about dense layers is read. */
export const noDenseLayers: Setting = always({ moe: { every: 1, from: 0 } })

const layersOf = ({ layers }: ModelConfig): number[] => Array.from({ length: layers }, (_, layer) => layer)

/** `moe.every` and `moe.from` that give these sparse layers. @throws UsageError if no values give them */
function sparseFields(config: Fields, isSparse: (layer: number) => boolean): Fields {
  const layers = valueAt<number>(config, 'num_hidden_layers', counts)
  const expected = Array.from({ length: layers }, (_, layer) => isSparse(layer))
  for (let every = 1; every <= layers; every++)
    for (let from = 0; from + every <= layers; from++)
      if (expected.every((sparse, layer) => sparse === (layer >= from && (layer - from + 1) % every === 0)))
        return { moe: { every, from } }
  const list = expected.flatMap((sparse, layer) => (sparse ? [layer] : []))
  throw new UsageError(
    `config.json: unsupported sparse layers: ${formatValue(list)} of ${layers} (supported: dense layers first, then the ` +
      'last of every n layers)',
  )
}
