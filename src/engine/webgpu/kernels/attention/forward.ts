/**
 * Attention of a tile of queries over its keys, with an online softmax (Milakov and Gimelshein 2018): the maximum of a
 * row so far, and sums relative to it, which shrink when it grows. Powers are of 2, which GPUs have an instruction for.
 */
import { type Dispatch, type Operand, rowsOf, workgroupMain } from '../contract.ts'
import { dispatchOf } from '../dispatch.ts'
import { type AttentionCall, attentionModule, factors, openQueries, workgroupsOf } from './call.ts'
import { arrayOfHeads, writerOf } from './heads.ts'
import { addWeighted, four, INVOCATIONS, scoresOf, tilesOf, vectorOf, writeSums } from './tiles.ts'

/** Far below any score: 2 to its power is zero. */
const MASKED = -3e38
/** The maximum of no scores: below any score, far above {@link MASKED}. */
const NO_MAXIMUM = -1e30

export function forward(call: AttentionCall, y: Operand, logSums: Operand): Dispatch {
  const { shape, inputs } = call
  const tiles = tilesOf(shape, 1)
  const workgroups = workgroupsOf(shape, tiles, 'queries')
  const floats = arrayOfHeads(shape, y)
  const sums = Array.from({ length: 4 * tiles.perRow }, (_, index) => index)
  const shrinkSum = (index: number) => `sums[${index}] *= shrink[${Math.floor(index / tiles.perRow)}];`
  return dispatchOf({
    name: 'attention',
    operands: { ...inputs, y: floats, logSums },
    workgroups: rowsOf(workgroups),
    code: (arrays) => `${attentionModule(call, tiles, arrays)}
${writerOf(shape, 'y', { floats, array: arrays.y, stride: 'WIDTH' })}
fn write_log_sum(head: u32, position: u32, log_sum: f32) {
  if (position < SEQUENCE) { ${arrays.logSums}[head * SEQUENCE + position] = log_sum; }
}
${EXCHANGE}

fn masked(scores: vec4<f32>, seen: vec4<bool>) -> vec4<f32> {
  return select(vec4<f32>(${MASKED}), SCALE * LOG2_E * scores, seen);
}
fn max_of(x: vec4<f32>) -> f32 { return max(max(x[0], x[1]), max(x[2], x[3])); }
fn sum_of(x: vec4<f32>) -> f32 { return (x[0] + x[1]) + (x[2] + x[3]); }
${workgroupMain(workgroups, INVOCATIONS)} {${openQueries(call, tiles)}
  var sums = array<vec4<f32>, ${sums.length}>();
  // A vector over the rows of the invocation. The sum has the columns of the invocation only.
  var row_sum = vec4<f32>();
  var row_max = vec4<f32>(${NO_MAXIMUM});
  for (var first_column = start; first_column < end; first_column += COLUMNS) {
    ${scoresOf('scores', factors.query, factors.key)}
    let keys = first_column + x + X * IOTA;
    ${four((i) => `scores[${i}] = masked(scores[${i}], sees_keys(queries[${i}], first_keys[${i}], keys));`, '\n    ')}
    let maximum = max_over_x(max(row_max, ${vectorOf('f32', (i) => `max_of(scores[${i}])`)}), x, y);
    let shrink = exp2(row_max - maximum);
    row_max = maximum;
    ${four((i) => `scores[${i}] = exp2(scores[${i}] - maximum[${i}]);`, '\n    ')}
    row_sum = row_sum * shrink + ${vectorOf('f32', (i) => `sum_of(scores[${i}])`)};
    ${sums.map(shrinkSum).join('\n    ')}
    ${addWeighted(tiles, 'sums', 'scores', factors.value)}
  }
  row_sum = sum_over_x(row_sum, x, y);
  // The maximum is one of powers of 2.
  let log_sums = row_max / LOG2_E + log(row_sum);
  if (x == 0u) {
    ${four((i) => `write_log_sum(head, queries[${i}], log_sums[${i}]);`, '\n    ')}
  }
  ${writeSums(tiles, {
    value: (index, i) => `sums[${index}] / row_sum[${i}]`,
    write: (position, slot, value) => `write_y(y_base, ${position}, ${slot}, ${value});`,
  })}
}`,
  })
}

/** Functions that reduce a vector over the invocations with the same rows. */
const EXCHANGE = ((): string => {
  const reduce = (name: string, first: string, step: string) => `
fn ${name}(value: vec4<f32>, x: u32, y: u32) -> vec4<f32> {
  exchange[y * (X + 1u) + x] = value;
  workgroupBarrier();
  var result = ${first};
  for (var i = 0u; i < X; i++) {
    let other = exchange[y * (X + 1u) + i];
    result = ${step};
  }
  workgroupBarrier();
  return result;
}`
  return `
var<workgroup> exchange: array<vec4<f32>, Y * (X + 1u)>;
${reduce('max_over_x', 'value', 'max(result, other)')}
${reduce('sum_over_x', 'vec4<f32>()', 'result + other')}`
})()
