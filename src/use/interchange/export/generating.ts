/** Refuses models that no format can hold, because they do not generate text token by token as they were trained. */
import { UsageError } from '../../../core/errors.ts'
import type { ModelConfig } from '../../../core/model/config.ts'

/** Refuses such models. @throws UsageError if the experts of a token are not a function of the tokens up to it */
export function checkGenerates({ moe, layer }: Pick<ModelConfig, 'moe' | 'layer'>): void {
  if (layer)
    throw new UsageError(
      `cannot export a model with the layer ${layer.own}: no format holds a layer of your own (train without model.layer)`,
    )
  if (moe?.router === 'own')
    throw new UsageError(
      `cannot export a model with the router ${moe.own}: no format holds a router of your own (train with a built-in router)`,
    )
  if (moe?.router === 'random')
    throw new UsageError(
      'cannot export a model with router "random": no format draws the experts of each token at random ' +
        '(train with router "hash", which is as blind and always the same)',
    )
  if (moe?.router === 'expert-choice')
    throw new UsageError(
      'cannot export a model with router "expert-choice": its experts choose among all tokens of a batch, later ones ' +
        'too, which no format does (train with router "top-k")',
    )
}
