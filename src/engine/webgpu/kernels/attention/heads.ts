/**
 * WGSL that reads, rotates and writes attention heads.
 *
 * Think of a head of a row as *slots*, vectors of four columns. With rotary positions, column c is rotated with column
 * c + d/2 (half-split), so slots 2·p and 2·p + 1 are four columns of the first half and their partners in the second.
 * Without rotary positions, slots are in the order of the columns. Either way slots 2·p and 2·p + 1 are *pair* p.
 * Columns beyond the head, slots beyond the last and positions beyond the sequence are zero. Products of heads do not
 * depend on the order of columns, so only reading and writing know this order.
 *
 * Names in WGSL: SEQUENCE S, HEADS H (of queries), KEY_HEADS KV (of keys, and of values), SHARED = H/KV, SIZE d (of a
 * head), WIDTH = H·d, KEY_WIDTH = KV·d, QKV_WIDTH = (H + 2·KV)·d, PAIRS and SLOTS of a head, SCALE of the scores.
 */
import { option, wording } from '../../../../core/errors.ts'
import { RuntimeError } from '../../../contract/runtime-error.ts'
import type { Operand } from '../contract.ts'
import { type FloatArray, floatArray } from '../memory.ts'

/** Maximum width of a head: each invocation of a token's workgroup has at most one slot. */
const MAX_SIZE = 1024

export interface HeadShape {
  readonly batch: number
  readonly sequence: number
  /** Number of heads of queries. */
  readonly heads: number
  /**
   * Number of heads of keys, each for `heads / keyHeads` consecutive heads of queries; there are as many heads of
   * values.
   */
  readonly keyHeads: number
  /** Width of a head, d. */
  readonly size: number
  readonly scale: number
  /** Whether queries and keys are rotated. */
  readonly rotary: boolean
}

/** @throws RuntimeError if the heads are too wide */
export function checkedShape(shape: HeadShape): HeadShape {
  const { size } = shape
  if (size > MAX_SIZE)
    throw new RuntimeError(
      wording`heads of ${size} columns on a GPU (expected at most ${MAX_SIZE}: use more heads, or ${option('runtime.device', 'cpu')})`,
    )
  return shape
}

export const slotsOf = ({ size }: HeadShape): number => 2 * Math.ceil(size / 8)

/** Type of the elements of arrays of heads: vectors if each slot is a vector. */
const elementOf = ({ size }: HeadShape) => (size % 8 === 0 ? 'vec4<f32>' : 'f32')

/** An array of heads, or of the angles of a head. */
export const arrayOfHeads = (shape: HeadShape, of: Operand): FloatArray => floatArray(elementOf(shape), of)

export const headConstants = (shape: HeadShape): string => `
const SEQUENCE = ${shape.sequence}u;
const HEADS = ${shape.heads}u;
const KEY_HEADS = ${shape.keyHeads}u;
const SHARED = HEADS / KEY_HEADS;
const SIZE = ${shape.size}u;
const WIDTH = HEADS * SIZE;
const KEY_WIDTH = KEY_HEADS * SIZE;
const QKV_WIDTH = WIDTH + 2u * KEY_WIDTH;
const SLOTS = ${slotsOf(shape)}u;
const PAIRS = SLOTS / 2u;
const SCALE = f32(${shape.scale});
const LOG2_E = ${Math.LOG2E};
${
  shape.rotary
    ? `
fn column_of(slot: u32) -> u32 { return slot % 2u * (SIZE / 2u) + slot / 2u * 4u; }
fn columns_in(slot: u32) -> u32 { return min(4u, SIZE / 2u - slot / 2u * 4u); }`
    : `
fn column_of(slot: u32) -> u32 { return slot * 4u; }
fn columns_in(slot: u32) -> u32 { return min(4u, max(SIZE, slot * 4u) - slot * 4u); }`
}`

/** The `count` elements of an array from `at` on. */
const readVector = (shape: HeadShape, read: FloatArray['read'], array: string, count: string): string =>
  elementOf(shape) === 'f32'
    ? `
  var x = vec4<f32>();
  for (var i = 0u; i < ${count}; i++) { x[i] = ${read(`${array}[at + i]`)}; }
  return x;`
    : `
  return ${read(`${array}[at / 4u]`)};`

/** An array of heads in WGSL: its name, and the count of numbers from a row to the next. */
interface HeadArray {
  readonly floats: FloatArray
  readonly array: string
  readonly stride: string
}

/**
 * Functions `NAME_slot` and `NAME_pair`, which read a row of a head.
 * @param base (in WGSL) Index of the head's first element in the first row of its sequence.
 */
export const readerOf = (shape: HeadShape, name: string, { floats, array, stride }: HeadArray): string => `
fn ${name}_slot(base: u32, position: u32, slot: u32) -> vec4<f32> {
  if (position >= SEQUENCE || slot >= SLOTS) { return vec4<f32>(); }
  let at = base + position * (${stride}) + column_of(slot);${readVector(shape, floats.read, array, 'columns_in(slot)')}
}
fn ${name}_pair(base: u32, position: u32, pair: u32) -> mat2x4<f32> {
  return mat2x4<f32>(${name}_slot(base, position, 2u * pair), ${name}_slot(base, position, 2u * pair + 1u));
}`

/** Function `write_NAME`, which writes a slot of a row. */
export const writerOf = (shape: HeadShape, name: string, { floats, array, stride }: HeadArray): string => {
  const { stored } = floats
  return `
fn write_${name}(base: u32, position: u32, slot: u32, value: vec4<f32>) {
  if (position >= SEQUENCE || slot >= SLOTS) { return; }
  let at = base + position * (${stride}) + column_of(slot);
  ${
    elementOf(shape) === 'f32'
      ? `for (var i = 0u; i < columns_in(slot); i++) { ${array}[at + i] = ${stored('value[i]')}; }`
      : `${array}[at / 4u] = ${stored('value')};`
  }
}`
}

/** Rotary tables float32, [S, d/2] or with another number of rows. Names are empty if there are no tables. */
interface Tables {
  readonly cos: string
  readonly sin: string
}

/**
 * Functions `rotated`, which rotates a pair at a position (Su et al. 2021, RoFormer, eq. 34, with half-split columns),
 * and `rotated_back`, which returns a slot of the pair rotated by the opposite angle, from the slot and its partner.
 * Without tables both return their first argument.
 * @param rows (in WGSL) Number of rows of the tables.
 */
export const rotationOf = (shape: HeadShape, { cos, sin }: Tables, rows = 'SEQUENCE'): string => {
  if (!shape.rotary)
    return `
fn rotated(x: mat2x4<f32>, position: u32, pair: u32) -> mat2x4<f32> { return x; }
fn rotated_back(x: vec4<f32>, partner: vec4<f32>, position: u32, slot: u32) -> vec4<f32> { return x; }`
  const table = (name: string, array: string) => `
fn ${name}_at(position: u32, pair: u32) -> vec4<f32> {
  if (position >= ${rows} || pair >= PAIRS) { return vec4<f32>(); }
  let at = position * (SIZE / 2u) + 4u * pair;${readVector(shape, (element) => element, array, 'columns_in(2u * pair)')}
}`
  return `${table('cos', cos)}${table('sin', sin)}
fn rotated(x: mat2x4<f32>, position: u32, pair: u32) -> mat2x4<f32> {
  let c = cos_at(position, pair);
  let s = sin_at(position, pair);
  return mat2x4<f32>(c * x[0] - s * x[1], c * x[1] + s * x[0]);
}
fn rotated_back(x: vec4<f32>, partner: vec4<f32>, position: u32, slot: u32) -> vec4<f32> {
  let s = sin_at(position, slot / 2u);
  return cos_at(position, slot / 2u) * x + select(s, -s, slot % 2u == 1u) * partner;
}`
}
