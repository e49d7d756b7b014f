/**
 * Attention of the next tokens of a few texts over a cache of keys and values, as in Flash-Decoding (Dao et al. 2023): the heads of a single
 * query are too few to fill a GPU, so workgroups share the keys of a head. Each workgroup computes the softmax and the
 * sum of its part of the keys, relative to its own maximum, and a second dispatch merges the parts.
 *
 * Both dispatches take a token's own key and value from qkv, so its row of the cache is written, never read. If the caches
 * before and after are the same memory, nothing else is written.
 */
import * as declared from '../../../../core/graph/kernels/attention.ts'
import { dim } from '../../../../core/graph/shape.ts'
import { type Dispatch, implement, type KernelCall, rowsOf, scratch, workgroupMain } from '../contract.ts'
import { dispatchOf } from '../dispatch.ts'
import { arrayOfHeads, checkedShape, headConstants, readerOf, rotationOf, slotsOf, writerOf } from './heads.ts'

const INVOCATIONS = 256
/** Number of keys of a workgroup. */
const PART = 32
/** A number below any score. */
const NO_MAXIMUM = -1e30

/** With a window smaller than S a token sees the last `window` positions. */
export const attendCached = implement(declared.attendCached, {
  lower(call) {
    const cached = cachedCall(call)
    return [attendParts(cached), mergeParts(cached)]
  },
})

type CachedCall = ReturnType<typeof cachedCall>

/** A call: its shape, and its operands as they are bound. */
function cachedCall({ attributes, inputs, outputs }: KernelCall<typeof declared.attendCached>) {
  const { heads, sequence, page, window, scale } = attributes
  const { qkv, position, pages, keys, values, cos, sin } = inputs
  const { y, newKeys, newValues } = outputs
  const [texts, keyWidth] = [dim(qkv.shape, 0), dim(keys.shape, 1)]
  const size = (dim(qkv.shape, -1) - 2 * keyWidth) / heads
  const [keyHeads, rotary] = [keyWidth / size, cos !== undefined]
  const shape = checkedShape({ batch: 1, sequence, heads, keyHeads, size, scale: scale.float, rotary })
  if (page % PART !== 0 && page < sequence) throw new Error(`internal: a page of ${page} keys, not of whole parts`)
  const parts = Math.ceil(sequence / PART)
  // The vectors of a part are the slots of its sum, then one vector with its maximum and the sum of its weights.
  const partials = scratch('float32', [texts, heads, parts, 4 * (slotsOf(shape) + 1)])
  return {
    shape,
    page,
    window,
    texts,
    parts,
    partials: { of: partials, as: 'vec4<f32>' },
    position,
    pages,
    qkv: arrayOfHeads(shape, qkv),
    keys: arrayOfHeads(shape, keys),
    values: arrayOfHeads(shape, values),
    cos: cos && arrayOfHeads(shape, cos),
    sin: sin && arrayOfHeads(shape, sin),
    y: arrayOfHeads(shape, y),
    newKeys: arrayOfHeads(shape, newKeys),
    newValues: arrayOfHeads(shape, newValues),
  } as const
}

const constants = ({ shape, page, window, parts }: CachedCall, pages: string): string => `${headConstants(shape)}
const PAGE = ${page}u;
const PAGES = ${Math.ceil(shape.sequence / page)}u;
const INVOCATIONS = ${INVOCATIONS}u;
const PART = ${PART}u;
const PARTS = ${parts}u;
const LANES = INVOCATIONS / PART;
// Rows of slots that invocations read at once.
const GROUPS = INVOCATIONS / SLOTS;
// The first row in the caches of the page of a text that has a position.
fn page_row(text: u32, position: u32) -> u32 { return u32(${pages}[text * PAGES + position / PAGE]) * PAGE; }
// The first position that a token sees.
fn first_seen(token: u32) -> u32 { return ${window < shape.sequence ? `max(token + 1u, ${window}u) - ${window}u` : '0u'}; }
var<workgroup> sums: array<vec4<f32>, INVOCATIONS>;
// Maximum and sum of weights.
var<workgroup> totals: array<vec2<f32>, INVOCATIONS>;`

/** Writes the keys and the partial results. A workgroup is a part of a head of a text. */
function attendParts(call: CachedCall): Dispatch {
  const { shape, texts, parts, qkv, position, pages, keys, values, cos, sin, newKeys, partials } = call
  const count = texts * shape.heads * parts
  return dispatchOf({
    name: 'attend-cached',
    operands: { qkv, position, pages, keys, values, cos, sin, newKeys, partials },
    workgroups: rowsOf(count),
    code(arrays) {
      const { position, partials } = arrays
      const moves = arrays.keys !== arrays.newKeys
      return `${constants(call, arrays.pages)}
${readerOf(shape, 'qkv', { floats: qkv, array: arrays.qkv, stride: 'QKV_WIDTH' })}
${readerOf(shape, 'keys', { floats: keys, array: arrays.keys, stride: 'KEY_WIDTH' })}
${readerOf(shape, 'values', { floats: values, array: arrays.values, stride: 'KEY_WIDTH' })}
${rotationOf(shape, arrays, `${texts}u`)}
${writerOf(shape, 'keys', { floats: newKeys, array: arrays.newKeys, stride: 'KEY_WIDTH' })}
var<workgroup> query: array<vec4<f32>, SLOTS>;
var<workgroup> token_key: array<vec4<f32>, SLOTS>;
var<workgroup> products: array<f32, INVOCATIONS>;
var<workgroup> scores: array<f32, PART>;
${workgroupMain(count, INVOCATIONS)} {
  let text = row / (HEADS * PARTS);
  let head = row / PARTS % HEADS;
  let key_base = head / SHARED * SIZE;
  // Heads of queries that share a head of keys have the same parts of it: one of them writes.
  let writes = head % SHARED == 0u;
  let first = row % PARTS * PART;
  let token = u32(${position}[text]);
  let qkv_base = text * QKV_WIDTH;
  // A part is in one page, where keys are numbered from the first of the page.
  let cache_base = page_row(text, first) * KEY_WIDTH + key_base;
  let before_page = first / PAGE * PAGE;
  let start = first_seen(token);
  if (local < PAIRS) {
    let q = rotated(qkv_pair(qkv_base + head * SIZE, 0u, local), text, local);
    let k = rotated(qkv_pair(qkv_base + WIDTH + key_base, 0u, local), text, local);
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
    if (${moves ? 'key != token' : 'key >= start && key < token'}) { k = keys_slot(cache_base, key - before_page, slot); }
    if (writes${moves ? '' : ' && key == token'}) { write_keys(cache_base, key - before_page, slot, k); }
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
      sum += weight * qkv_slot(qkv_base + WIDTH + KEY_WIDTH + key_base, 0u, slot);
    } else {
      sum += weight * values_slot(cache_base, first + i - before_page, slot);
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
    },
  })
}

/** Writes y and the values. A workgroup is a head of a text. */
function mergeParts(call: CachedCall): Dispatch {
  const { shape, texts, qkv, position, pages, values, partials, y, newValues } = call
  return dispatchOf({
    name: 'attend-cached merge',
    operands: { qkv, position, pages, values, partials, y, newValues },
    workgroups: rowsOf(texts * shape.heads),
    code(arrays) {
      const moveOthers = `
  for (var i = local; writes && i < SEQUENCE * SLOTS; i += INVOCATIONS) {
    let other = i / SLOTS;
    let base = page_row(text, other) * KEY_WIDTH + key_base;
    if (other != token) { write_values(base, other % PAGE, i % SLOTS, values_slot(base, other % PAGE, i % SLOTS)); }
  }`
      return `${constants(call, arrays.pages)}
${readerOf(shape, 'qkv', { floats: qkv, array: arrays.qkv, stride: 'QKV_WIDTH' })}
${readerOf(shape, 'values', { floats: values, array: arrays.values, stride: 'KEY_WIDTH' })}
${writerOf(shape, 'values', { floats: newValues, array: arrays.newValues, stride: 'KEY_WIDTH' })}
${writerOf(shape, 'y', { floats: y, array: arrays.y, stride: 'WIDTH' })}
${workgroupMain(texts * shape.heads, INVOCATIONS)} {
  let text = row / HEADS;
  let head = row % HEADS;
  let key_base = head / SHARED * SIZE;
  let writes = head % SHARED == 0u;
  let token = u32(${arrays.position}[text]);
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
    write_y(text * WIDTH + head * SIZE, 0u, local, sum / weight);
    let qkv_base = text * QKV_WIDTH;
    if (writes) {
      let value = qkv_slot(qkv_base + WIDTH + KEY_WIDTH + key_base, 0u, local);
      write_values(page_row(text, token) * KEY_WIDTH + key_base, token % PAGE, local, value);
    }
  }${arrays.values === arrays.newValues ? '' : moveOthers}
}`
    },
  })
}
