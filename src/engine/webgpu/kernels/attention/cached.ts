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
 * Inputs qkv [1, (H + 2·KV)·d], position int32 [1], keys, values [S, KV·d] (, cos, sin [1, d/2]); outputs y [1, H·d],
 * and keys and values with the row of the position replaced, in the memory of the inputs or elsewhere. With a window
 * smaller than S a token sees the last `window` positions.
 */
export const attendCached: Kernel = {
  lower(call) {
    const cached = cachedCall(call)
    const { shape } = cached
    const parts = Math.ceil(shape.sequence / PART)
    const partial = slotsOf(shape) + 1
    return {
      scratch: [{ dtype: 'float32', shape: [shape.heads, parts, 4 * partial] }],
      dispatches: [attendParts(cached, parts), mergeParts(cached, parts)],
    }
  },
}

interface CachedCall {
  readonly shape: HeadShape
  /** Positions that a token sees, itself included. */
  readonly window: number
  readonly inputs: Inputs<'qkv' | 'position' | 'keys' | 'values' | 'cos' | 'sin'>
}

function cachedCall({ attributes, inputs }: KernelCall): CachedCall {
  const { heads, window, scale } = attributes as { heads: number; window: number; scale: { float: number } }
  const [sequence = 0, keyWidth = 0] = (inputs[2] as Operand).shape
  const rotary = inputs.length > 4
  const size = (((inputs[0] as Operand).shape.at(-1) as number) - 2 * keyWidth) / heads
  const keyHeads = keyWidth / size
  const shape = checkedShape({ batch: 1, sequence, heads, keyHeads, size, scale: scale.float, rotary })
  const { as } = arrayOfHeads(shape)
  const at = (input: number): Use => ({ input, as })
  const angles = { cos: rotary ? at(4) : undefined, sin: rotary ? at(5) : undefined }
  return { shape, window, inputs: { qkv: at(0), position: { input: 1 }, keys: at(2), values: at(3), ...angles } }
}

/** Partial results are vectors: the slots of a sum, then its maximum and the sum of its weights. */
const PARTIALS = { scratch: 0, as: 'vec4<f32>' } as const

const constants = ({ shape, window }: CachedCall, parts: number): string => `${headConstants(shape)}
const INVOCATIONS = ${INVOCATIONS}u;
const PART = ${PART}u;
const PARTS = ${parts}u;
const LANES = INVOCATIONS / PART;
// Rows of slots that invocations read at once.
const GROUPS = INVOCATIONS / SLOTS;
// The first position that a token sees.
fn first_seen(token: u32) -> u32 { return ${window < shape.sequence ? `max(token + 1u, ${window}u) - ${window}u` : '0u'}; }
var<workgroup> sums: array<vec4<f32>, INVOCATIONS>;
// Maximum and sum of weights.
var<workgroup> totals: array<vec2<f32>, INVOCATIONS>;`

/** Writes the keys and the partial results. A workgroup is a part of a head. */
function attendParts(call: CachedCall, parts: number): Dispatch {
  const { shape, inputs } = call
  const newKeys: Use = { output: 1, as: arrayOfHeads(shape).as }
  const count = shape.heads * parts
  return dispatchOf('attend-cached', { ...inputs, newKeys, partials: PARTIALS }, rowsOf(count), (arrays) => {
    const { qkv, position, keys, values, cos, sin, newKeys, partials } = arrays
    const moves = keys !== newKeys
    return `${constants(call, parts)}
${readerOf(shape, 'qkv', { array: qkv, stride: 'QKV_WIDTH' })}
${readerOf(shape, 'keys', { array: keys, stride: 'KEY_WIDTH' })}
${readerOf(shape, 'values', { array: values, stride: 'KEY_WIDTH' })}
${rotationOf(shape, { cos, sin })}
${writerOf(shape, 'keys', { array: newKeys, stride: 'KEY_WIDTH' })}
var<workgroup> query: array<vec4<f32>, SLOTS>;
var<workgroup> token_key: array<vec4<f32>, SLOTS>;
var<workgroup> products: array<f32, INVOCATIONS>;
var<workgroup> scores: array<f32, PART>;
${workgroupMain(count, INVOCATIONS)} {
  let head = row / PARTS;
  let key_base = head / SHARED * SIZE;
  // Heads of queries that share a head of keys have the same parts of it: one of them writes.
  let writes = head % SHARED == 0u;
  let first = row % PARTS * PART;
  let token = u32(${position}[0]);
  let start = first_seen(token);
  if (local < PAIRS) {
    let q = rotated(qkv_pair(head * SIZE, 0u, local), 0u, local);
    let k = rotated(qkv_pair(WIDTH + key_base, 0u, local), 0u, local);
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
    if (${moves ? 'key != token' : 'key >= start && key < token'}) { k = keys_slot(key_base, key, slot); }
    if (writes${moves ? '' : ' && key == token'}) { write_keys(key_base, key, slot, k); }
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

  let unseen = max(first, start) - first;
  let seen = min(PART, max(first, token + 1u) - first);
  var maximum = f32(${NO_MAXIMUM});
  for (var i = unseen; i < seen; i++) { maximum = max(maximum, scores[i]); }
  let slot = local % SLOTS;
  var sum = vec4<f32>();
  var total = 0.0;
  for (var i = unseen + local / SLOTS; i < seen; i += GROUPS) {
    let weight = exp2(scores[i] - maximum);
    total += weight;
    if (first + i == token) {
      sum += weight * qkv_slot(WIDTH + KEY_WIDTH + key_base, 0u, slot);
    } else {
      sum += weight * values_slot(key_base, first + i, slot);
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
function mergeParts(call: CachedCall, parts: number): Dispatch {
  const { shape, inputs } = call
  const { qkv, position, values } = inputs
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
  for (var i = local; writes && i < SEQUENCE * SLOTS; i += INVOCATIONS) {
    if (i / SLOTS != token) { write_values(key_base, i / SLOTS, i % SLOTS, values_slot(key_base, i / SLOTS, i % SLOTS)); }
  }`
    return `${constants(call, parts)}
${readerOf(shape, 'qkv', { array: arrays.qkv, stride: 'QKV_WIDTH' })}
${readerOf(shape, 'values', { array: arrays.values, stride: 'KEY_WIDTH' })}
${writerOf(shape, 'values', { array: arrays.newValues, stride: 'KEY_WIDTH' })}
${writerOf(shape, 'y', { array: arrays.y, stride: 'WIDTH' })}
${workgroupMain(shape.heads, INVOCATIONS)} {
  let key_base = row / SHARED * SIZE;
  let writes = row % SHARED == 0u;
  let token = u32(${arrays.position}[0]);
  let slot = local % SLOTS;
  var sum = vec4<f32>();
  var total = vec2<f32>(${NO_MAXIMUM}, 0.0);
  for (var part = first_seen(token) / PART + local / SLOTS; part <= token / PART; part += GROUPS) {
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
    write_y(row * SIZE, 0u, local, sum / weight);
    if (writes) { write_values(key_base, token, local, qkv_slot(WIDTH + KEY_WIDTH + key_base, 0u, local)); }
  }${arrays.values === arrays.newValues ? '' : moveOthers}
}`
  })
}
