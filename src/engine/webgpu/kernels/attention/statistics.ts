/** Two numbers of each query, with which the gradient recomputes its weights and their gradient. */
import { type Dispatch, gridOf, linearMain, type MemoryType } from '../../contract.ts'
import { type AttentionCall, dispatchOf } from './call.ts'
import { arrayOfHeads, headConstants, readerOf } from './heads.ts'

/**
 * Writes statistics [2, B, H, S]: log₂ Σ exp(score), and Σ dy·y over the head (Dao et al. 2022, FlashAttention,
 * appendix B.2).
 */
export function statistics({ shape, inputs, dtypes }: AttentionCall, yType?: MemoryType): Dispatch {
  const { batch, heads, sequence } = shape
  const count = batch * heads * sequence
  const y = { input: 2, as: arrayOfHeads(shape, yType).as }
  const operands = { dy: inputs.dy, y, sums: { input: 3 }, result: { scratch: 0 } } as const
  return dispatchOf('attention-gradient statistics', operands, gridOf(count), (arrays) => {
    return `${headConstants(shape)}
${readerOf(shape, 'dy', { array: arrays.dy, stride: 'WIDTH', dtype: dtypes.dy })}
${readerOf(shape, 'y', { array: arrays.y, stride: 'WIDTH', dtype: yType })}
${linearMain(count)} {
  let head = index / SEQUENCE;
  let position = index % SEQUENCE;
  let base = head / HEADS * SEQUENCE * WIDTH + head % HEADS * SIZE;
  var dots = 0.0;
  for (var slot = 0u; slot < SLOTS; slot++) { dots += dot(dy_slot(base, position, slot), y_slot(base, position, slot)); }
  ${arrays.result}[index] = LOG2_E * ${arrays.sums}[index];
  ${arrays.result}[${count}u + index] = dots;
}`
  })
}
