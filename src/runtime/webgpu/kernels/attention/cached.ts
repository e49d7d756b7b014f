/**
 * Attention of one token over a cache of keys and values, as in Flash-Decoding (Dao et al. 2023): the heads of a single
 * query are too few to fill a GPU, so workgroups share the keys of a head. Each computes the softmax and the sum of its
 * part of them, relative to its own maximum, and a second dispatch merges the parts.
 *
 * Both dispatches take the token's own key and value from qkv, so its row of the cache is written, never read. If the
 * caches before and after are the same memory, nothing else is written.
 */
import {
  type Dispatch,
  type Kernel,
  type KernelCall,
  type Operand,
  rowsOf,
  type Use,
  workgroupMain,
} from '../../contract.ts'
import { dispatchOf, type Inputs } from './call.ts'
import {
  arrayOfHeads,
  checkedShape,
  type HeadShape,
  headConstants,
  readerOf,
  rotationOf,
  slotsOf,
  writerOf,
} from './heads.ts'

const INVOCATIONS = 256
/** Keys of a workgroup. */
const PART = 32
/** Below any score. */
const NO_MAXIMUM = -1e30

/**
 * Inputs qkv [1, 3·D], position int32 [1], keys, values [S, D] (, cos, sin [1, d/2]); outputs y [1, D], and keys and
 * values with the row of the position replaced, in the memory of the inputs or elsewhere.
 */
export const attendCached: Kernel = {
  lower(call) {
    const { shape, inputs } = cachedCall(call)
    const parts = Math.ceil(shape.sequence / PART)
    const partial = slotsOf(shape) + 1
    return {
      scratch: [{ dtype: 'float32', shape: [shape.heads, parts, 4 * partial] }],
      dispatches: [attendParts(shape, inputs, parts), mergeParts(shape, inputs, parts)],
    }
  },
}

interface CachedCall {
  readonly shape: HeadShape
  readonly inputs: Inputs<'qkv' | 'position' | 'keys' | 'values' | 'cos' | 'sin'>
}

function cachedCall({ attributes, inputs }: KernelCall): CachedCall {
  const { heads, scale } = attributes as { heads: number; scale: { float: number } }
  const [sequence = 0, width = 0] = (inputs[2] as Operand).shape
  const rotary = inputs.length > 4
  const shape = checkedShape({ batch: 1, sequence, heads, size: width / heads, scale: scale.float, rotary })
  const { as } = arrayOfHeads(shape)
  const at = (input: number): Use => ({ input, as })
  const angles = { cos: rotary ? at(4) : undefined, sin: rotary ? at(5) : undefined }
  return { shape, inputs: { qkv: at(0), position: { input: 1 }, keys: at(2), values: at(3), ...angles } }
}

/** Partial results are vectors: the slots of a sum, then its maximum and the sum of its weights. */
const PARTIALS = { scratch: 0, as: 'vec4<f32>' } as const

const constants = (shape: HeadShape, parts: number): string => `${headConstants(shape)}
const INVOCATIONS = ${INVOCATIONS}u;
const PART = ${PART}u;
const PARTS = ${parts}u;
const LANES = INVOCATIONS / PART;
// Rows of slots that invocations read at once.
const GROUPS = INVOCATIONS / SLOTS;
var<workgroup> sums: array<vec4<f32>, INVOCATIONS>;
// Maximum and sum of weights.
var<workgroup> totals: array<vec2<f32>, INVOCATIONS>;`

/** Writes the keys and the partial results. A workgroup is a part of a head. */
function attendParts(shape: HeadShape, inputs: CachedCall['inputs'], parts: number): Dispatch {
  const newKeys: Use = { output: 1, as: arrayOfHeads(shape).as }
  const count = shape.heads * parts
  return dispatchOf('attend-cached', { ...inputs, newKeys, partials: PARTIALS }, rowsOf(count), (arrays) => {
    const { qkv, position, keys, values, cos, sin, newKeys, partials } = arrays
    const moves = keys !== newKeys
    return `${constants(shape, parts)}
${readerOf(shape, 'qkv', { array: qkv, stride: '3u * WIDTH' })}
${readerOf(shape, 'keys', { array: keys, stride: 'WIDTH' })}
${readerOf(shape, 'values', { array: values, stride: 'WIDTH' })}
${rotationOf(shape, { cos, sin })}
${writerOf(shape, 'keys', { array: newKeys, stride: 'WIDTH' })}
var<workgroup> query: array<vec4<f32>, SLOTS>;
var<workgroup> token_key: array<vec4<f32>, SLOTS>;
var<workgroup> products: array<f32, INVOCATIONS>;
var<workgroup> scores: array<f32, PART>;
${workgroupMain(count, INVOCATIONS)} {
  let base = row / PARTS * SIZE;
  let first = row % PARTS * PART;
  let token = u32(${position}[0]);
  if (local < PAIRS) {
    let q = rotated(qkv_pair(base, 0u, local), 0u, local);
    let k = rotated(qkv_pair(base + WIDTH, 0u, local), 0u, local);
    query[2u * local] = SCALE * LOG2_E * q[0];
    query[2u * local + 1u] = SCALE * LOG2_E * q[1];
    token_key[2u * local] = k[0];
    token_key[2u * local + 1u] = k[1];
  }
  workgroupBarrier();

  // Consecutive invocations read the slots of a key.
  let key = first + local / LANES;
  var product = 0.0;
  for (var slot = local % LANES; slot < SLOTS; slot += LANES) {
    var k = token_key[slot];
    if (${moves ? 'key != token' : 'key < token'}) { k = keys_slot(base, key, slot); }
    if (${moves ? 'true' : 'key == token'}) { write_keys(base, key, slot, k); }
    product += dot(query[slot], k);
  }
  products[local] = product;
  workgroupBarrier();
  if (local < PART) {
    var score = 0.0;
    for (var lane = 0u; lane < LANES; lane++) { score += products[local * LANES + lane]; }
    scores[local] = score;
  }
  workgroupBarrier();

  let seen = min(PART, max(first, token + 1u) - first);
  var maximum = f32(${NO_MAXIMUM});
  for (var i = 0u; i < seen; i++) { maximum = max(maximum, scores[i]); }
  let slot = local % SLOTS;
  var sum = vec4<f32>();
  var total = 0.0;
  for (var i = local / SLOTS; i < seen; i += GROUPS) {
    let weight = exp2(scores[i] - maximum);
    total += weight;
    if (first + i == token) {
      sum += weight * qkv_slot(base + 2u * WIDTH, 0u, slot);
    } else {
      sum += weight * values_slot(base, first + i, slot);
    }
  }
  sums[local] = sum;
  totals[local] = vec2<f32>(maximum, total);
  workgroupBarrier();
  if (local < SLOTS) {
    for (var other = local + SLOTS; other < GROUPS * SLOTS; other += SLOTS) {
      sum += sums[other];
      total += totals[other][1];
    }
    ${partials}[row * (SLOTS + 1u) + local] = sum;
    if (local == 0u) { ${partials}[row * (SLOTS + 1u) + SLOTS] = vec4<f32>(maximum, total, 0.0, 0.0); }
  }
}`
  })
}

/** Writes y and the values. A workgroup is a head. */
function mergeParts(shape: HeadShape, { qkv, position, values }: CachedCall['inputs'], parts: number): Dispatch {
  const { as } = arrayOfHeads(shape)
  const operands = {
    qkv,
    position,
    values,
    partials: PARTIALS,
    y: { output: 0, as },
    newValues: { output: 2, as },
  } as const
  return dispatchOf('attend-cached merge', operands, rowsOf(shape.heads), (arrays) => {
    const moveOthers = `
  for (var i = local; i < SEQUENCE * SLOTS; i += INVOCATIONS) {
    if (i / SLOTS != token) { write_values(base, i / SLOTS, i % SLOTS, values_slot(base, i / SLOTS, i % SLOTS)); }
  }`
    return `${constants(shape, parts)}
${readerOf(shape, 'qkv', { array: arrays.qkv, stride: '3u * WIDTH' })}
${readerOf(shape, 'values', { array: arrays.values, stride: 'WIDTH' })}
${writerOf(shape, 'values', { array: arrays.newValues, stride: 'WIDTH' })}
${writerOf(shape, 'y', { array: arrays.y, stride: 'WIDTH' })}
${workgroupMain(shape.heads, INVOCATIONS)} {
  let base = row * SIZE;
  let token = u32(${arrays.position}[0]);
  let slot = local % SLOTS;
  var sum = vec4<f32>();
  var total = vec2<f32>(${NO_MAXIMUM}, 0.0);
  for (var part = local / SLOTS; part <= token / PART; part += GROUPS) {
    let at = (row * PARTS + part) * (SLOTS + 1u);
    let next = ${arrays.partials}[at + SLOTS].xy;
    let maximum = max(total[0], next[0]);
    let factors = exp2(vec2<f32>(total[0], next[0]) - maximum);
    sum = factors[0] * sum + factors[1] * ${arrays.partials}[at + slot];
    total = vec2<f32>(maximum, factors[0] * total[1] + factors[1] * next[1]);
  }
  sums[local] = sum;
  totals[local] = total;
  workgroupBarrier();
  if (local < SLOTS) {
    var maximum = total[0];
    for (var other = local + SLOTS; other < GROUPS * SLOTS; other += SLOTS) {
      maximum = max(maximum, totals[other][0]);
    }
    var weight = 0.0;
    sum = vec4<f32>();
    for (var other = local; other < GROUPS * SLOTS; other += SLOTS) {
      let factor = exp2(totals[other][0] - maximum);
      sum += factor * sums[other];
      weight += factor * totals[other][1];
    }
    write_y(base, 0u, local, sum / weight);
    write_values(base, token, local, qkv_slot(base + 2u * WIDTH, 0u, local));
  }${arrays.values === arrays.newValues ? '' : moveOthers}
}`
  })
}
