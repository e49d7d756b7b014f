/** All kernels, by name. */
import type { Kernel } from '../contract.ts'
import { allToAllRows, allToAllSizes, awaitRows, fitRows } from './all-to-all.ts'
import { attendCached } from './attention/attend-cached.ts'
import { attention, attentionGradient } from './attention/attention.ts'
import { expertFfn, expertFfnGradient } from './experts/expert-ffn.ts'
import { expertLinear, expertLinearGradient } from './experts/expert-linear.ts'
import { linearCrossEntropy } from './linear-cross-entropy.ts'
import { matmul } from './matmul.ts'
import { quantizedExpertFfn, quantizedMatmul } from './quantized/many-rows.ts'
import { quantizedExpertsDown, quantizedExpertsUp, quantizedProduct } from './quantized/row-products.ts'
import { quantizedRows } from './quantized/table-rows.ts'
import { round } from './round.ts'
import { chooseExperts } from './routing/choose-experts.ts'
import { packRows } from './routing/pack-rows.ts'
import { placeByPosition, placeInQueues } from './routing/place-choices.ts'
import { routerLosses, routeTokens, routeTokensGradient } from './routing/route-tokens.ts'
import { combineRows, gatherGatedRows, gatherRows, rmsNorm, rmsNormGradient, rowDots } from './rows.ts'
import { sumSources } from './sum-sources.ts'
import { activateParts, expertRowProduct, rowProduct, rowProductTransposed, sumParts } from './token.ts'

const all: readonly Kernel[] = [
  activateParts,
  allToAllRows,
  allToAllSizes,
  attendCached,
  attention,
  attentionGradient,
  awaitRows,
  chooseExperts,
  combineRows,
  expertFfn,
  expertFfnGradient,
  expertLinear,
  expertLinearGradient,
  expertRowProduct,
  fitRows,
  gatherGatedRows,
  gatherRows,
  quantizedExpertFfn,
  quantizedExpertsDown,
  quantizedExpertsUp,
  quantizedMatmul,
  quantizedProduct,
  quantizedRows,
  linearCrossEntropy,
  matmul,
  packRows,
  placeByPosition,
  placeInQueues,
  rmsNorm,
  rmsNormGradient,
  round,
  routeTokens,
  routeTokensGradient,
  routerLosses,
  rowDots,
  rowProduct,
  rowProductTransposed,
  sumParts,
  sumSources,
]

export const opKernels: Readonly<Record<string, Kernel>> = Object.fromEntries(
  all.map((kernel) => [kernel.declaration.name, kernel]),
)
