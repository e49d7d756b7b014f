/** All kernels, by the type of their node. */
import type { Kernel } from '../contract.ts'
import { attention, attentionGradient } from './attention/attention.ts'
import { attendCached } from './attention/cached.ts'
import { crossEntropy } from './cross-entropy.ts'
import { expertFfn, expertFfnGradient } from './experts/ffn.ts'
import { expertLinear, expertLinearGradient } from './experts/linear.ts'
import { rmsNorm, rmsNormGradient } from './norm.ts'
import { cumulativeSum } from './order/scan.ts'
import { scatterElements } from './order/scatter.ts'
import { topK } from './order/top-k.ts'
import { matmul } from './products/matmul.ts'
import { keptInBuckets } from './routing/buckets.ts'
import { chooseExperts } from './routing/choose-experts.ts'
import { packRows } from './routing/pack-rows.ts'
import { queuePositions } from './routing/queue-positions.ts'
import { combineRows, gatherRows, rowDots } from './rows.ts'
import { logSoftmax, softmax } from './softmax.ts'
import { activateParts, expertRowProduct, rowProduct, rowProductTransposed, sumParts } from './token.ts'

/** Kernels of the graph (domain `choir`), for which programs are traced. */
export const graphKernels: Readonly<Record<string, Kernel>> = {
  matmul,
  attention,
  'attention-gradient': attentionGradient,
  'expert-ffn': expertFfn,
  'expert-ffn-gradient': expertFfnGradient,
  'expert-linear': expertLinear,
  'expert-linear-gradient': expertLinearGradient,
  'gather-rows': gatherRows,
  'combine-rows': combineRows,
  'row-dots': rowDots,
  'rms-norm': rmsNorm,
  'rms-norm-gradient': rmsNormGradient,
  'cross-entropy': crossEntropy,
  'queue-positions': queuePositions,
  'kept-in-buckets': keptInBuckets,
  'pack-rows': packRows,
  'attend-cached': attendCached,
  'row-product': rowProduct,
  'row-product-transposed': rowProductTransposed,
  'sum-parts': sumParts,
  'choose-experts': chooseExperts,
  'expert-row-product': expertRowProduct,
  'activate-parts': activateParts,
}

/** ONNX operators that are no maps or reductions. */
const operators: Readonly<Record<string, Kernel>> = {
  MatMul: matmul,
  FusedMatMul: matmul,
  TopK: topK,
  CumSum: cumulativeSum,
  ScatterElements: scatterElements,
  Softmax: softmax,
  LogSoftmax: logSoftmax,
  SimplifiedLayerNormalization: rmsNorm,
}

export const nodeKernels: Readonly<Record<string, Kernel>> = { ...operators, ...graphKernels }
