/**
 * Softmax and cross-entropy of rows of logits, T positions and a vocabulary of V, in two passes over memory: maximum
 * and sum of exponentials together (Milakov and Gimelshein 2018, algorithm 3), then the results.
 */
import * as declared from '../../../core/graph/kernels/products.ts'
import { implement, rowsOf, WORKGROUP, workgroupMain } from './contract.ts'
import { dispatchOf } from './dispatch.ts'
import { lanesOf, reduction } from './reduce.ts'
import { heightOf, vectorOf, widthOf } from './vectors.ts'

/**
 * For a negative target nothing is subtracted, and its nats and `greedy` are 0. The nats of a target from V on are NaN: a kernel cannot
 * throw, but such a loss is refused.
 *
 * −log p[target] = (max − logit[target]) + log Σ exp(logit − max), which stays exact if p[target] underflows.
 */
export const crossEntropy = implement(declared.crossEntropy, {
  lower({ inputs: { logits, targets }, outputs: { dLogits, nats, greedy } }) {
    const [height, columns] = [heightOf(logits), widthOf(logits)]
    if (logits.size === 0) return []
    const { type: as, width, total, largest, component } = vectorOf(columns)
    const vectors = columns / width
    const lanes = lanesOf(vectors)
    const strands = WORKGROUP / lanes
    const groups = Math.ceil(height / strands)
    const merge = (a: string, b: string) => `merge(${a}, ${b})`
    const dispatch = dispatchOf({
      name: 'cross-entropy',
      operands: {
        logits_TV: { of: logits, as },
        target_T: targets,
        gradient_TV: { of: dLogits, as },
        nats_T: nats,
        greedy_T: greedy,
      },
      workgroups: rowsOf(groups),
      code: ({ logits_TV, target_T, gradient_TV, nats_T, greedy_T }) => `
// The maximum of some logits, and the sum of exp(logit - maximum).
struct Part { maximum: f32, sum: f32 }
fn merge(a: Part, b: Part) -> Part {
  let maximum = max(a.maximum, b.maximum);
  return Part(maximum, a.sum * exp(a.maximum - maximum) + b.sum * exp(b.maximum - maximum));
}
${reduction({ name: 'all_of_row', type: 'Part', lanes, merge })}
${workgroupMain(groups)} {
  let t = row * ${strands}u + local / ${lanes}u;
  let lane = local % ${lanes}u;
  let start = t * ${vectors}u;
  let end = select(0u, ${vectors}u, t < ${height}u);
  var part = Part(-3.4e38, 0.0);
  for (var column = lane; column < end; column += ${lanes}u) {
    let logit = ${logits_TV}[start + column];
    let maximum = max(part.maximum, ${largest('logit')});
    part = Part(maximum, part.sum * exp(part.maximum - maximum) + ${total('exp(logit - maximum)')});
  }
  let all = all_of_row(part, local);
  let answer = ${target_T}[t];
  // Of a negative target: beyond all columns.
  let answer_column = u32(answer) / ${width}u;
  let answer_place = u32(answer) % ${width}u;
  for (var column = lane; column < end; column += ${lanes}u) {
    let logit = ${logits_TV}[start + column];
    var gradient = exp(logit - all.maximum) / all.sum;
    if (column == answer_column) {
      ${nats_T}[t] = (all.maximum - ${component('logit', 'answer_place')}) + log(all.sum);
      ${greedy_T}[t] = select(0, 1, ${component('logit', 'answer_place')} == all.maximum);
      ${component('gradient', 'answer_place')} -= 1.0;
    }
    ${gradient_TV}[start + column] = gradient;
  }
  if (lane == 0u && t < ${height}u) {
    if (answer < 0 || answer >= ${columns}) { ${greedy_T}[t] = 0; }
    if (answer < 0) { ${nats_T}[t] = 0.0; }
    if (answer >= ${columns}) { ${nats_T}[t] = bitcast<f32>(answer | 0x7fc00000); }
  }
}`,
    })
    return [dispatch]
  },
  work: ({ inputs: { logits } }) => ({ flops: 4 * logits.size, bytes: 8 * logits.size }),
})
