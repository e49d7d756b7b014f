/**
 * Attention of a tile of queries over its keys, with an online softmax (Milakov and Gimelshein 2018): the maximum of a
 * row so far, and sums relative to it, which shrink when it grows. Powers are of 2, which GPUs have an instruction for.
 *
 * The gradient begins with the same, but keeps only two numbers of a row.
 */
import { type Dispatch, rowsOf, type Use, workgroupMain } from '../../contract.ts'
import { type AttentionCall, attentionModule, dispatchOf, factors, openQueries, workgroupsOf } from './call.ts'
import { arrayOfHeads, writerOf } from './heads.ts'
import { addWeighted, four, INVOCATIONS, scoresOf, tilesOf, vectorOf, writeSums } from './tiles.ts'

/** Far below any score: 2 to its power is zero. */
const MASKED = -3e38
/** The maximum of no scores: below any score, far above {@link MASKED}. */
const NO_MAXIMUM = -1e30

/** Writes y [T, D]. */
export function forward(call: AttentionCall): Dispatch {
  const { shape, dtypes } = call
  const dtype = dtypes.result
  return overQueries('attention', call, {
    result: { output: 0, as: arrayOfHeads(shape, dtype).as },
    functions: (y) => writerOf(shape, 'y', { array: y, stride: 'WIDTH', dtype }),
    end: writeSums(tilesOf(shape, 1), {
      value: (index, i) => `sums[${index}] / row_sum[${i}]`,
      write: (position, slot, value) => `write_y(y_base, ${position}, ${slot}, ${value});`,
    }),
  })
}

/**
 * Writes statistics [2, B, H, S] of the queries: log₂ Σ exp(score), and Σ dy·y over the head (Dao et al. 2022,
 * FlashAttention, appendix B.2).
 */
export function statistics(call: AttentionCall): Dispatch {
  const { shape } = call
  const { x, perRow } = tilesOf(shape, 1)
  const addDot = (i: number, slot: string, index: number) =>
    `dots[${i}] += dot(dy_slot(y_base, queries[${i}], ${slot}), sums[${index}]);`
  const addDots = (m: number) => `
  if (x + ${m * x}u < SLOTS) {
    ${four((i) => addDot(i, `x + ${m * x}u`, i * perRow + m), '\n    ')}
  }`
  return overQueries('attention-gradient statistics', call, {
    result: { scratch: 0 },
    functions: (result) => `
fn write_statistics(head: u32, position: u32, logarithm: f32, dots: f32) {
  if (position >= SEQUENCE) { return; }
  ${result}[head * SEQUENCE + position] = logarithm;
  ${result}[(${shape.batch * shape.heads}u + head) * SEQUENCE + position] = dots;
}`,
    end: `
  // Sums of slots beyond the last may be anything.
  var dots = vec4<f32>();${Array.from({ length: perRow }, (_, m) => addDots(m)).join('')}
  dots = sum_over_x(dots, x, y) / row_sum;
  let logarithms = row_max + log2(row_sum);
  if (x == 0u) {
    ${four((i) => `write_statistics(head, queries[${i}], logarithms[${i}], dots[${i}]);`, '\n    ')}
  }`,
  })
}

interface Rest {
  readonly result: Use
  /** WGSL for the name of the result's array. */
  readonly functions: (result: string) => string
  /** WGSL that writes the result from `sums`, not yet divided by `row_sum`, and `row_max`. */
  readonly end: string
}

function overQueries(name: string, call: AttentionCall, { result, functions, end }: Rest): Dispatch {
  const { shape, inputs } = call
  const tiles = tilesOf(shape, 1)
  const workgroups = workgroupsOf(shape, tiles, 'queries')
  const sums = Array.from({ length: 4 * tiles.perRow }, (_, index) => index)
  const shrinkSum = (index: number) => `sums[${index}] *= shrink[${Math.floor(index / tiles.perRow)}];`
  return dispatchOf(name, { ...inputs, result }, rowsOf(workgroups), (arrays) => {
    return `${attentionModule(call, tiles, arrays)}
${functions(arrays.result)}
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
  row_sum = sum_over_x(row_sum, x, y);${end}
}`
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
