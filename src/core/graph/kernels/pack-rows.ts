/** The kernel that lays out rows of experts: T tokens with K choices each in G equal groups of tokens, N experts. */
import { dim } from '../shape.ts'
import { declareKernel } from './declaration.ts'

/**
 * Packs kept choices, those at a position below the capacity, expert by expert and within an expert group by group, in
 * R rows. `sizes` int64 [N + 1] is the number of rows of each expert, padded to a multiple of the tile, then of unused
 * rows. The results for each choice [T, K] are its row (0 if it is dropped) and whether it is kept, 1 or 0 in float32.
 * The results for each row [R] are its choice t·K + k and its token (0 if the row is unused), and with a tile above 1
 * whether it is occupied, 1 or 0 in float32.
 */
export const packRows = declareKernel({
  name: 'pack-rows',
  inputs: ['expert_TK', 'position_TK', 'kept_GN'],
  outputs: ['sizes', 'rowOfChoice_TK', 'choiceOfRow_R', 'tokenOfRow_R', 'kept_TK', 'occupied_R?'],
  results: (
    { expert_TK: { shape }, kept_GN },
    { rows, tile }: { readonly capacity: number; readonly rows: number; readonly tile: number },
  ) => ({
    sizes: { dtype: 'int64', shape: [dim(kept_GN.shape, 1) + 1] },
    rowOfChoice_TK: { dtype: 'int32', shape },
    choiceOfRow_R: { dtype: 'int32', shape: [rows] },
    tokenOfRow_R: { dtype: 'int32', shape: [rows] },
    kept_TK: { dtype: 'float32', shape },
    occupied_R: tile > 1 ? { dtype: 'float32', shape: [rows] } : undefined,
  }),
  local: true,
})
