/**
 * Kernels of matrices of quantized weights (`../quantized-layout.ts`), which are int32 words [E, words]: one matrix, or
 * one for each expert. Such a matrix may be in a memory of its own, so that a model may have more bytes than one memory
 * has. `bits` are those of a weight.
 */
import type { Bits } from '../quantized-layout.ts'
import { dim, sizeOf } from '../shape.ts'
import { declareKernel } from './declaration.ts'

/** y = x·w [R, columns] of x [R, K] and a quantized matrix w. */
export const quantizedProduct = declareKernel({
  name: 'quantized-product',
  inputs: ['x', 'w'],
  outputs: ['y'],
  results: ({ x }, { columns }: { readonly columns: number; readonly bits: Bits }) => ({
    y: { dtype: x.dtype, shape: [dim(x.shape, 0), columns] },
  }),
  addsTo: ['y'],
  local: true,
})

/**
 * gelu(x·up), or swish(x·gate) ∘ x·up, of each choice of rows x [R, D] among experts int32 [R, K]: [R·K, columns]. Every
 * expert has quantized matrices.
 */
export const quantizedExpertsUp = declareKernel({
  name: 'quantized-experts-up',
  inputs: ['x', 'experts', 'up', 'gate?'],
  outputs: ['active'],
  results: ({ x, experts }, { columns }: { readonly columns: number; readonly bits: Bits }) => ({
    active: { dtype: x.dtype, shape: [sizeOf(experts.shape), columns] },
  }),
  local: true,
})

/** y = Σ_k gate · active·down [R, columns] of gates [R, K] and active [R·K, F]. Every expert has a quantized matrix. */
export const quantizedExpertsDown = declareKernel({
  name: 'quantized-experts-down',
  inputs: ['active', 'experts', 'gates', 'down'],
  outputs: ['y'],
  results: ({ active, experts }, { columns }: { readonly columns: number; readonly bits: Bits }) => ({
    y: { dtype: active.dtype, shape: [dim(experts.shape, 0), columns] },
  }),
  addsTo: ['y'],
  local: true,
})

/** y = alpha · x·w [R, columns] of many rows x [R, K] and a quantized matrix w. */
export const quantizedMatmul = declareKernel({
  name: 'quantized-matmul',
  inputs: ['x', 'w'],
  outputs: ['y'],
  results: (
    { x },
    { columns }: { readonly columns: number; readonly bits: Bits; readonly alpha: { readonly float: number } },
  ) => ({ y: { dtype: x.dtype, shape: [dim(x.shape, 0), columns] } }),
  localOutputs: true,
})

/** The columns of a quantized matrix w, at `index` int32 [R], as rows [R, inner]: rows of a table that is stored as wᵀ. */
export const quantizedRows = declareKernel({
  name: 'quantized-rows',
  inputs: ['w', 'index'],
  outputs: ['rows'],
  results: ({ index }, { inner }: { readonly inner: number; readonly bits: Bits }) => ({
    rows: { dtype: 'float32', shape: [dim(index.shape, 0), inner] },
  }),
  localInputs: ['index'],
  localOutputs: true,
})

/** `expertFfn` (`experts.ts`) with quantized matrices: rows [R, D] → [R, D]. `hidden` is F. */
export const quantizedExpertFfn = declareKernel({
  name: 'quantized-expert-ffn',
  inputs: ['rows', 'sizes', 'up', 'gate?', 'down'],
  outputs: ['y'],
  results: ({ rows }, _: { readonly hidden: number; readonly bits: Bits }) => ({ y: rows }),
  overwrites: true,
  localInputs: ['sizes'],
})
