/** All kernels, by name. */
import type { Kernel } from '../contract.ts'
import { attendCached } from './attention/attend-cached.ts'
import { attention, attentionGradient } from './attention/attention.ts'
import { awaitRows, exchangeRows, exchangeSizes } from './exchange.ts'
import { expertFfn, expertFfnGradient } from './experts/expert-ffn.ts'
import { expertLinear, expertLinearGradient } from './experts/expert-linear.ts'
import { int8ExpertsDown, int8ExpertsUp, int8Product } from './int8.ts'
import { linearCrossEntropy } from './linear-cross-entropy.ts'
import { matmul } from './matmul.ts'
import { round } from './round.ts'
import { chooseExperts } from './routing/choose-experts.ts'
import { packRows } from './routing/pack-rows.ts'
import { placeByPosition, placeInQueues } from './routing/place-choices.ts'
import { routerLosses, routeTokens, routeTokensGradient } from './routing/route-tokens.ts'
import { combineRows, gatherGatedRows, gatherRows, rmsNorm, rmsNormGradient, rowDots } from './rows.ts'
import { sumSources } from './sum-sources.ts'
import { activateParts, expertRowProduct, rowProduct, rowProductTransposed, sumParts } from './token.ts'

export const opKernels: Readonly<Record<string, Kernel>> = {
  'activate-parts': activateParts,
  'attend-cached': attendCached,
  attention,
  'attention-gradient': attentionGradient,
  'await-rows': awaitRows,
  'choose-experts': chooseExperts,
  'combine-rows': combineRows,
  'exchange-rows': exchangeRows,
  'exchange-sizes': exchangeSizes,
  'expert-ffn': expertFfn,
  'expert-ffn-gradient': expertFfnGradient,
  'expert-linear': expertLinear,
  'expert-linear-gradient': expertLinearGradient,
  'expert-row-product': expertRowProduct,
  'gather-gated-rows': gatherGatedRows,
  'gather-rows': gatherRows,
  'int8-experts-down': int8ExpertsDown,
  'int8-experts-up': int8ExpertsUp,
  'int8-product': int8Product,
  'linear-cross-entropy': linearCrossEntropy,
  matmul,
  'pack-rows': packRows,
  'place-by-position': placeByPosition,
  'place-in-queues': placeInQueues,
  'rms-norm': rmsNorm,
  'rms-norm-gradient': rmsNormGradient,
  round,
  'route-tokens': routeTokens,
  'route-tokens-gradient': routeTokensGradient,
  'router-losses': routerLosses,
  'row-product': rowProduct,
  'row-product-transposed': rowProductTransposed,
  'sum-parts': sumParts,
  'sum-sources': sumSources,
  'row-dots': rowDots,
}
