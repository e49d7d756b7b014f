/**
 * Gradients of queries, and of keys and values, from the statistics of the queries (Dao et al. 2022, FlashAttention,
 * algorithm 4). With weights P = exp(score) / Σ exp(score) and dS = P ∘ (dy·vᵀ − Σ dy·y):
 * dq = dS·k, dk = dSᵀ·q, dv = Pᵀ·dy. Queries and keys are rotated, so dq and dk are rotated back.
 *
 * A workgroup recomputes P and dS for its rows of the result. So, unlike in the paper, no two workgroups add to the
 * same element, and the order of additions is fixed.
 */
import { type Dispatch, type Operand, rowsOf, workgroupMain } from '../contract.ts'
import { dispatchOf } from '../dispatch.ts'
import {
  type AttentionCall,
  attentionModule,
  factors,
  forQueryHeads,
  openKeys,
  openQueries,
  workgroupsOf,
} from './call.ts'
import { arrayOfHeads, writerOf } from './heads.ts'
import { addWeighted, four, INVOCATIONS, scoresOf, type Tiles, tilesOf, vectorOf, writeSums } from './tiles.ts'

const { query, key, value, dy } = factors

export interface GradientCall extends AttentionCall {
  /** Statistics of the queries [2, B, H, S] (`statistics.ts`). */
  readonly statistics: Operand
  readonly dQkv: Operand
}

/** Writes the gradient of the queries, which is a part of the gradient of qkv. The rows of a workgroup are queries. */
export function queryGradient(call: GradientCall): Dispatch {
  const tiles = tilesOf(call.shape, 1)
  const dScore = (i: number) => `
    let seen_${i} = sees_keys(queries[${i}], first_keys[${i}], keys);
    scores[${i}] = weights_of(scores[${i}], vec4<f32>(logarithms[${i}]), seen_${i});
    scores[${i}] = gradient_of(scores[${i}], products[${i}], vec4<f32>(dots[${i}]));`
  return overTiles(
    'queries',
    call,
    tiles,
    `${openQueries(call, tiles)}
  let logarithms = ${vectorOf('f32', (i) => `logarithm_at(head, queries[${i}])`)};
  let dots = ${vectorOf('f32', (i) => `dots_at(head, queries[${i}])`)};
  var query_sums = array<vec4<f32>, ${4 * tiles.perRow}>();
  for (var first_column = start; first_column < end; first_column += COLUMNS) {
    ${scoresOf('scores', query, key)}
    ${scoresOf('products', dy, value)}
    let keys = first_column + x + X * IOTA;${four(dScore, '')}
    ${addWeighted(tiles, 'query_sums', 'scores', key)}
  }
  ${writeRotated(call, tiles, 'query_sums', 'query_base')}`,
  )
}

/**
 * Writes the gradients of the keys and values, which are parts of the gradient of qkv. The rows of a workgroup are
 * keys.
 */
export function keyValueGradient(call: GradientCall): Dispatch {
  const tiles = tilesOf(call.shape, 2)
  const weightsAndDScore = (i: number) => `
    scores[${i}] = weights_of(scores[${i}], logarithms, see_key(queries, first_keys, keys[${i}]));
    products[${i}] = gradient_of(scores[${i}], products[${i}], dots);`
  return overTiles(
    'keys',
    call,
    tiles,
    `${openKeys(call, tiles)}
  var key_sums = array<vec4<f32>, ${4 * tiles.perRow}>();
  var value_sums = array<vec4<f32>, ${4 * tiles.perRow}>();
  ${forQueryHeads(`
  for (var first_column = start; first_column < end; first_column += COLUMNS) {
    ${scoresOf('scores', key, query)}
    ${scoresOf('products', value, dy)}
    let queries = first_column + x + X * IOTA;
    let first_keys = ${vectorOf('u32', (j) => `first_key(sequence, queries[${j}])`)};
    let logarithms = ${vectorOf('f32', (j) => `logarithm_at(head, queries[${j}])`)};
    let dots = ${vectorOf('f32', (j) => `dots_at(head, queries[${j}])`)};${four(weightsAndDScore, '')}
    ${addWeighted(tiles, 'value_sums', 'scores', dy)}
    ${addWeighted(tiles, 'key_sums', 'products', query)}
  }`)}
  ${writeRotated(call, tiles, 'key_sums', 'key_base')}
  ${writeSums(tiles, { value: (index) => `value_sums[${index}]`, write: writeTo('value_base') })}`,
  )
}

const writeTo = (base: string) => (position: string, slot: string, value: string) =>
  `write_dqkv(${base}, ${position}, ${slot}, ${value});`

/** Scores are scaled products, so the gradients of both factors are scaled. */
const writeRotated = ({ shape: { rotary } }: AttentionCall, tiles: Tiles, sums: string, base: string): string =>
  writeSums(tiles, { value: (index) => `SCALE * ${sums}[${index}]`, write: writeTo(base), rotated: rotary })

function overTiles(rows: 'queries' | 'keys', call: GradientCall, tiles: Tiles, body: string): Dispatch {
  const { shape, inputs, statistics, dQkv } = call
  const workgroups = workgroupsOf(shape, tiles, rows)
  const floats = arrayOfHeads(shape, dQkv)
  return dispatchOf({
    name: `attention-gradient ${rows === 'keys' ? 'keys and values' : rows}`,
    operands: { ...inputs, statistics, dqkv: floats },
    workgroups: rowsOf(workgroups),
    code: (arrays) => `${attentionModule(call, tiles, arrays)}
${writerOf(shape, 'dqkv', { floats, array: arrays.dqkv, stride: 'QKV_WIDTH' })}

fn logarithm_at(head: u32, query: u32) -> f32 {
  if (query >= SEQUENCE) { return 0.0; }
  return ${arrays.statistics}[head * SEQUENCE + query];
}
fn dots_at(head: u32, query: u32) -> f32 {
  if (query >= SEQUENCE) { return 0.0; }
  return ${arrays.statistics}[(${shape.batch * shape.heads}u + head) * SEQUENCE + query];
}

// P, from products of queries and keys.
fn weights_of(products: vec4<f32>, logarithms: vec4<f32>, seen: vec4<bool>) -> vec4<f32> {
  return select(vec4<f32>(), exp2(SCALE * LOG2_E * products - logarithms), seen);
}
// dS, from P and products of dy and values. Where nothing is seen, those may be anything.
fn gradient_of(weights: vec4<f32>, products: vec4<f32>, dots: vec4<f32>) -> vec4<f32> {
  return select(weights * (products - dots), vec4<f32>(), weights == vec4<f32>());
}
${workgroupMain(workgroups, INVOCATIONS)} {${body}
}`,
  })
}
