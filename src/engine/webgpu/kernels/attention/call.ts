/** A call of attention: its shape, its inputs by name, and WGSL that its dispatches share. */
import type { Dispatch, KernelCall, MemoryType, Operand, Use, Workgroups } from '../../contract.ts'
import { arrayOfHeads, checkedShape, type HeadShape, headConstants, readerOf, rotationOf } from './heads.ts'
import { type Factor, type Tiles, tileDeclarations, vectorOf } from './tiles.ts'

/** Absent inputs are undefined. */
export type Inputs<Name extends string> = Readonly<Record<Name, Use | undefined>>

/** Names of arrays in WGSL; empty for absent inputs. */
type Arrays<Name extends string> = Readonly<Record<Name, string>>

type InputName = 'dy' | 'qkv' | 'cos' | 'sin' | 'first'

export interface AttentionCall {
  readonly shape: HeadShape
  readonly inputs: Inputs<InputName>
  /** Numbers in memory of qkv, of dy if there is one, and of the result. */
  readonly dtypes: { readonly qkv: MemoryType; readonly dy?: MemoryType | undefined; readonly result: MemoryType }
}

/** @param pass The inputs of `backward` are dy, qkv, y and sums, of `forward` qkv; cos, sin and first positions follow. */
export function attentionCall(
  { attributes, inputs, outputs }: KernelCall,
  pass: 'forward' | 'backward',
): AttentionCall {
  const [qkvAt, others] = pass === 'forward' ? [0, 1] : [1, 4]
  const { scale, ...counts } = attributes as Record<'batch' | 'sequence' | 'heads' | 'keyHeads', number> & {
    scale: { float: number }
  }
  const optional = inputs.length - others
  const rotary = optional >= 2
  const size = ((inputs[qkvAt] as Operand).shape.at(-1) as number) / (counts.heads + 2 * counts.keyHeads)
  const shape = checkedShape({ ...counts, size, scale: scale.float, rotary })
  const at = (input: number): Use => ({ input, as: arrayOfHeads(shape, inputs[input]?.dtype).as })
  return {
    shape,
    inputs: {
      dy: pass === 'backward' ? at(0) : undefined,
      qkv: at(qkvAt),
      cos: rotary ? at(others) : undefined,
      sin: rotary ? at(others + 1) : undefined,
      first: optional % 2 === 1 ? { input: inputs.length - 1 } : undefined,
    },
    dtypes: {
      qkv: (inputs[qkvAt] as Operand).dtype,
      dy: pass === 'backward' ? inputs[0]?.dtype : undefined,
      result: (outputs[0] as Operand).dtype,
    },
  }
}

/** A dispatch whose operands have names. */
export function dispatchOf<Name extends string>(
  name: string,
  operands: Inputs<Name>,
  workgroups: Workgroups,
  code: (arrays: Arrays<Name>) => string,
): Dispatch {
  const keys = Object.keys(operands) as Name[]
  const present = keys.filter((key) => operands[key])
  return {
    name,
    operands: present.map((key) => operands[key] as Use),
    workgroups,
    code: (names) => {
      const nameOf = (key: Name) => (operands[key] ? (names[present.indexOf(key)] as string) : '')
      return code(Object.fromEntries(keys.map((key) => [key, nameOf(key)])) as Arrays<Name>)
    },
  }
}

const tilesPerHead = ({ sequence }: HeadShape, { rows }: Tiles): number => Math.ceil(sequence / rows)

/** Workgroups whose rows are queries, or keys. */
export const workgroupsOf = (shape: HeadShape, tiles: Tiles, rows: 'queries' | 'keys'): number =>
  shape.batch * (rows === 'queries' ? shape.heads : shape.keyHeads) * tilesPerHead(shape, tiles)

/** Constants, and functions that read the inputs. */
export const attentionModule = (
  { shape, inputs, dtypes }: AttentionCall,
  tiles: Tiles,
  arrays: Arrays<InputName>,
): string => `
${headConstants(shape)}
${tileDeclarations(tiles)}
${readerOf(shape, 'qkv', { array: arrays.qkv, stride: 'QKV_WIDTH', dtype: dtypes.qkv })}${inputs.dy ? readerOf(shape, 'dy', { array: arrays.dy, stride: 'WIDTH', dtype: dtypes.dy }) : ''}
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
