/** Two numbers of each query, with which the gradient recomputes its weights and their gradient. */
import { type Dispatch, gridOf, linearMain, type Operand } from '../contract.ts'
import { dispatchOf } from '../dispatch.ts'
import { arrayOfHeads, type HeadShape, headConstants, readerOf } from './heads.ts'

/**
 * Writes statistics [2, B, H, S]: log₂ Σ exp(score), and Σ dy·y over the head (Dao et al. 2022, FlashAttention,
 * appendix B.2).
 */
export function statistics(
  shape: HeadShape,
  { dy, y, logSums }: { readonly dy: Operand; readonly y: Operand; readonly logSums: Operand },
  result: Operand,
): Dispatch {
  const { batch, heads, sequence } = shape
  const count = batch * heads * sequence
  const [ofDy, ofY] = [arrayOfHeads(shape, dy), arrayOfHeads(shape, y)]
  return dispatchOf({
    name: 'attention-gradient statistics',
    operands: { dy: ofDy, y: ofY, sums: logSums, result },
    workgroups: gridOf(count),
    code: ({ dy, y, sums, result }) => `${headConstants(shape)}
${readerOf(shape, 'dy', { floats: ofDy, array: dy, stride: 'WIDTH' })}
${readerOf(shape, 'y', { floats: ofY, array: y, stride: 'WIDTH' })}
${linearMain(count)} {
  let head = index / SEQUENCE;
  let position = index % SEQUENCE;
  let base = head / HEADS * SEQUENCE * WIDTH + head % HEADS * SIZE;
  var dots = 0.0;
  for (var slot = 0u; slot < SLOTS; slot++) { dots += dot(dy_slot(base, position, slot), y_slot(base, position, slot)); }
  ${result}[index] = LOG2_E * ${sums}[index];
  ${result}[${count}u + index] = dots;
}`,
  })
}
