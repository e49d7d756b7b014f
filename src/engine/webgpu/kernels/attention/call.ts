/** A call of attention: its shape, how its inputs are bound, and WGSL that its dispatches share. */
import type { AttentionAttributes } from '../../../../core/graph/kernels/attention.ts'
import { dim } from '../../../../core/graph/shape.ts'
import type { Operand } from '../contract.ts'
import type { FloatArray } from '../memory.ts'
import { arrayOfHeads, checkedShape, type HeadShape, headConstants, readerOf, rotationOf } from './heads.ts'
import { type Factor, type Tiles, tileDeclarations, vectorOf } from './tiles.ts'

export interface AttentionCall {
  readonly shape: HeadShape
  /** Inputs of the kernel and of its gradient, which has dy too. */
  readonly inputs: {
    readonly dy: FloatArray | undefined
    readonly qkv: FloatArray
    readonly cos: FloatArray | undefined
    readonly sin: FloatArray | undefined
    readonly first: Operand | undefined
  }
}

interface Given {
  readonly attributes: AttentionAttributes
  readonly inputs: { readonly qkv: Operand } & {
    readonly [Name in 'dy' | 'cos' | 'sin' | 'first']?: Operand | undefined
  }
}

export function attentionCall({ attributes, inputs }: Given): AttentionCall {
  const { batch, sequence, heads, keyHeads, scale } = attributes
  const { dy, qkv, cos, sin, first } = inputs
  const size = dim(qkv.shape, -1) / (heads + 2 * keyHeads)
  const rotary = cos !== undefined
  const shape = checkedShape({ batch, sequence, heads, keyHeads, size, scale: scale.float, rotary })
  const bound = (of: Operand | undefined) => of && arrayOfHeads(shape, of)
  return { shape, inputs: { dy: bound(dy), qkv: arrayOfHeads(shape, qkv), cos: bound(cos), sin: bound(sin), first } }
}

/** Names of arrays in WGSL; empty for absent inputs. */
type Arrays = Readonly<Record<keyof AttentionCall['inputs'], string>>

const tilesPerHead = ({ sequence }: HeadShape, { rows }: Tiles): number => Math.ceil(sequence / rows)

/** Number of workgroups whose rows are queries, or keys. */
export const workgroupsOf = (shape: HeadShape, tiles: Tiles, rows: 'queries' | 'keys'): number =>
  shape.batch * (rows === 'queries' ? shape.heads : shape.keyHeads) * tilesPerHead(shape, tiles)

/** WGSL with constants, and with functions that read the inputs. */
export const attentionModule = ({ shape, inputs }: AttentionCall, tiles: Tiles, arrays: Arrays): string => `
${headConstants(shape)}
${tileDeclarations(tiles)}
${readerOf(shape, 'qkv', { floats: inputs.qkv, array: arrays.qkv, stride: 'QKV_WIDTH' })}${inputs.dy ? readerOf(shape, 'dy', { floats: inputs.dy, array: arrays.dy, stride: 'WIDTH' }) : ''}
${rotationOf(shape, arrays)}

// The first key that a query sees. A query beyond the sequence sees no key of it.
fn first_key(sequence: u32, query: u32) -> u32 {
  if (query >= SEQUENCE) { return query; }
  return ${inputs.first ? `u32(${arrays.first}[sequence * SEQUENCE + query])` : '0u'};
}

// Which of four queries see a key.
fn see_key(queries: vec4<u32>, first_keys: vec4<u32>, key: u32) -> vec4<bool> {
  return (vec4<u32>(key) <= queries) & (vec4<u32>(key) >= first_keys);
}
// Which of four keys a query sees.
fn sees_keys(query: u32, first_key: u32, keys: vec4<u32>) -> vec4<bool> {
  return (keys <= vec4<u32>(query)) & (keys >= vec4<u32>(first_key));
}
${inputs.first ? `var<workgroup> numbers: array<u32, INVOCATIONS>;${reduction('min')}${reduction('max')}` : ''}`

/** Function `min_of_workgroup` or `max_of_workgroup`. */
const reduction = (order: 'min' | 'max'): string => `
fn ${order}_of_workgroup(local: u32, number: u32) -> u32 {
  numbers[local] = number;
  workgroupBarrier();
  for (var count = INVOCATIONS / 2u; count > 0u; count = count / 2u) {
    if (local < count) { numbers[local] = ${order}(numbers[local], numbers[local + count]); }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&numbers[0]);
}`

/** The elements at which a head of queries begins in y and qkv. */
const queryBases = `
  let y_base = sequence * SEQUENCE * WIDTH + head % HEADS * SIZE;
  let query_base = sequence * SEQUENCE * QKV_WIDTH + head % HEADS * SIZE;`

/** The element at which head `of` (WGSL) of the keys begins in qkv. */
const keyBase = (of: string): string => `
  let key_base = sequence * SEQUENCE * QKV_WIDTH + WIDTH + ${of} * SIZE;
  let value_base = key_base + KEY_WIDTH;`

const openTile = (name: string, shape: HeadShape, tiles: Tiles): string => `
  let ${name} = row / ${tilesPerHead(shape, tiles)}u;
  let tile_of_head = row % ${tilesPerHead(shape, tiles)}u;
  let x = local % X;
  let y = local / X;`

/** Opens a workgroup whose rows are queries. It needs the keys from `start` to `end`. */
export const openQueries = (
  { shape, inputs }: AttentionCall,
  tiles: Tiles,
): string => `${openTile('head', shape, tiles)}
  let sequence = head / HEADS;${queryBases}${keyBase('head % HEADS / SHARED')}
  // Tiles with most keys come first, so that the last workgroups to finish are short.
  let first_row = (${tilesPerHead(shape, tiles) - 1}u - tile_of_head) * ROWS;
  let queries = first_row + y + Y * IOTA;
  let first_keys = ${vectorOf('u32', (i) => `first_key(sequence, queries[${i}])`)};
  let end = min(first_row + ROWS, SEQUENCE);${
    inputs.first
      ? `
  let first = min(min(first_keys[0], first_keys[1]), min(first_keys[2], first_keys[3]));
  let start = min_of_workgroup(local, first);`
      : `
  let start = 0u;`
  }`

/** Opens a workgroup whose rows are keys. It needs the queries from `start` to `end` of each head that shares them. */
export const openKeys = (
  { shape, inputs }: AttentionCall,
  tiles: Tiles,
): string => `${openTile('key_head', shape, tiles)}
  let sequence = key_head / KEY_HEADS;${keyBase('key_head % KEY_HEADS')}
  let first_row = tile_of_head * ROWS;
  let keys = first_row + y + Y * IOTA;
  let start = first_row;${
    inputs.first
      ? `
  var last = start;
  for (var query = start + local; query < SEQUENCE; query += INVOCATIONS) {
    if (first_key(sequence, query) < first_row + ROWS) { last = query; }
  }
  let end = max_of_workgroup(local, last) + 1u;`
      : `
  let end = SEQUENCE;`
  }`

/** Runs `body` for each head of queries of the keys of a workgroup, in order. */
export const forQueryHeads = (body: string): string => `
  for (var query_head = 0u; query_head < SHARED; query_head++) {
  let head = key_head * SHARED + query_head;${queryBases}${body}
  }`

/** Rotated queries and keys, values, and the gradient of the result. */
export const factors: Readonly<Record<'query' | 'key' | 'value' | 'dy', Factor>> = {
  query: (at, pair) => `rotated(qkv_pair(query_base, ${at}, ${pair}), ${at}, ${pair})`,
  key: (at, pair) => `rotated(qkv_pair(key_base, ${at}, ${pair}), ${at}, ${pair})`,
  value: (at, pair) => `qkv_pair(value_base, ${at}, ${pair})`,
  dy: (at, pair) => `dy_pair(y_base, ${at}, ${pair})`,
}
