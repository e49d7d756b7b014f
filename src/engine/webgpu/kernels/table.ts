/** All kernels, by the type of their node. */

import { allToAllRows, allToAllSizes, awaitRows, fitRows } from './all-to-all.ts'
import { attention, attentionGradient } from './attention/attention.ts'
import { attendCached } from './attention/cached.ts'
import type { Kernel } from './contract.ts'
import { crossEntropy } from './cross-entropy.ts'
import { expertFfn, expertFfnGradient } from './experts/ffn.ts'
import { expertLinear, expertLinearGradient } from './experts/linear.ts'
import { rmsNorm, rmsNormGradient, simplifiedLayerNorm } from './norm.ts'
import { cumulativeSum } from './order/scan.ts'
import { scatterElements, scatterFill } from './order/scatter.ts'
import { topK } from './order/top-k.ts'
import { fusedMatmul, matmul, onnxMatmul } from './products/matmul.ts'
import { keptInBuckets } from './routing/buckets.ts'
import { chooseExperts } from './routing/choose-experts.ts'
import { packRows } from './routing/pack-rows.ts'
import { queuePositions } from './routing/queue-positions.ts'
import { combineRows, gatherRows, rowDots } from './rows.ts'
import { logSoftmax, softmax } from './softmax.ts'
import { activateParts, expertRowProduct, rowProduct, rowProductTransposed, sumParts } from './token.ts'

const byName = (kernels: readonly Kernel[]): Readonly<Record<string, Kernel>> =>
  Object.fromEntries(kernels.map((kernel) => [kernel.declaration.name, kernel]))

/** Kernels of the graph (domain `choir`), for which programs are traced. */
export const graphKernels = byName([
  matmul,
  attention,
  attentionGradient,
  expertFfn,
  expertFfnGradient,
  expertLinear,
  expertLinearGradient,
  gatherRows,
  combineRows,
  rowDots,
  rmsNorm,
  rmsNormGradient,
  crossEntropy,
  queuePositions,
  keptInBuckets,
  packRows,
  attendCached,
  rowProduct,
  rowProductTransposed,
  sumParts,
  chooseExperts,
  expertRowProduct,
  activateParts,
  allToAllSizes,
  fitRows,
  allToAllRows,
  awaitRows,
])

/** Operators that are neither maps nor reductions: operators of ONNX, of ONNX Runtime, and of rewritten programs. */
const operators = byName([
  onnxMatmul,
  fusedMatmul,
  topK,
  cumulativeSum,
  scatterElements,
  scatterFill,
  softmax,
  logSoftmax,
  simplifiedLayerNorm,
])

export const nodeKernels: Readonly<Record<string, Kernel>> = { ...operators, ...graphKernels }
