/**
 * Products of attention, in tiles (Dao 2023, FlashAttention-2).
 *
 * Think of a workgroup as X × Y invocations that own 4·Y rows of a head (queries; or keys, for their gradient) and walk
 * over its columns (keys; or queries) in tiles of 4·X. In each tile two products follow each other:
 *
 * - *scores* = rows · columnsᵀ, over the width of a head. Both factors pass through workgroup memory in chunks of slots.
 *   Invocation (x, y) computes rows y + i·Y against columns x + j·X, `scores[i][j]`.
 * - *sums* += weights · columns, over the columns of the tile. Weights are computed from scores, and lie in workgroup
 *   memory as vectors over j. The columns pass through it in groups {x + j·X}. Invocation (x, y) computes slots x + m·X
 *   of rows y + i·Y, `sums[i · perRow + m]`.
 *
 * Each product reads at most one vector of workgroup memory for 8 multiplications. Consecutive invocations read
 * consecutive vectors or the same vector, so there are no bank conflicts. Arrays are indexed by constants only, which
 * keeps them in registers. All pieces of WGSL begin and end with no invocation at work in `tile`.
 */
import { type HeadShape, slotsOf } from './heads.ts'

export const INVOCATIONS = 128
/** Maximum number of pairs of a chunk. */
const MAX_CHUNK = 4
/**
 * Number of vectors of workgroup memory for the columns of a sum. With the rest of a workgroup they stay below 16 KiB.
 */
const VALUES = 256
/** Maximum number of slots of a column in workgroup memory, of which a group of four fits. */
const MAX_BLOCK = VALUES / 4

export interface Tiles {
  readonly x: number
  readonly y: number
  /** Number of rows of a workgroup. */
  readonly rows: number
  /** Number of vectors that an invocation has of each row of the sums. */
  readonly perRow: number
  /** Number of slots of a head. */
  readonly slots: number
  /** Number of slots of a column that are in workgroup memory at once. */
  readonly block: number
}

/**
 * @param sums How many `sums` a workgroup has. If they need many registers, the workgroup is wide and has fewer rows.
 */
export function tilesOf(shape: HeadShape, sums: number): Tiles {
  const slots = slotsOf(shape)
  const x = slots * sums <= 32 ? 8 : 16
  const y = INVOCATIONS / x
  return { x, y, rows: 4 * y, perRow: Math.ceil(slots / x), slots, block: Math.min(slots, MAX_BLOCK) }
}

/** WGSL for each of the four rows or columns of an invocation. */
export const four = (text: (i: number) => string, separator = '\n  '): string => [0, 1, 2, 3].map(text).join(separator)

/** A vector of four expressions. */
export const vectorOf = (type: 'f32' | 'u32', element: (i: number) => string): string =>
  `vec4<${type}>(${four(element, ', ')})`

export function tileDeclarations({ x, y, slots, block }: Tiles): string {
  const pairs = slots / 2
  // The chunks are equal, up to rounding.
  const chunk = Math.ceil(pairs / Math.ceil(pairs / MAX_CHUNK))
  const groups = Math.min(x, 2 ** Math.floor(Math.log2(VALUES / (4 * block))))
  const [rowStride, columnStride] = [4 * y + 1, 4 * x + 1]
  const factors = 2 * chunk * (rowStride + columnStride)
  // Invocations without a slot read up to x vectors after the last.
  const weightsAndValues = x * rowStride + 4 * groups * block + x
  return `
const INVOCATIONS = ${INVOCATIONS}u;
const X = ${x}u;
const Y = ${y}u;
const ROWS = 4u * Y;
const COLUMNS = 4u * X;
const IOTA = vec4<u32>(0u, 1u, 2u, 3u);
const CHUNK = ${chunk}u;
const GROUPS = ${groups}u;
const BLOCK = ${block}u;
// Odd, so that invocations write to different banks.
const ROW_STRIDE = ROWS + 1u;
const COLUMN_STRIDE = COLUMNS + 1u;
// Rows or weights are at the start of the tile, columns or values after them.
const COLUMN_TILE = 2u * CHUNK * ROW_STRIDE;
const VALUE_TILE = X * ROW_STRIDE;
var<workgroup> tile: array<vec4<f32>, ${Math.max(factors, weightsAndValues)}>;

// sum + a · b, where b has a row in each of its columns.
fn add_product(sum: vec4<f32>, a: vec4<f32>, b: mat4x4<f32>) -> vec4<f32> {
  let half = fma(vec4<f32>(a[1]), b[1], fma(vec4<f32>(a[0]), b[0], sum));
  return fma(vec4<f32>(a[3]), b[3], fma(vec4<f32>(a[2]), b[2], half));
}`
}

/** WGSL of a pair (mat2x4<f32>) of a row or column. */
export type Factor = (position: string, pair: string) => string

/** Copies a chunk of the pairs of rows into the tile, slot by slot. */
const stage = (
  factor: Factor,
  { first, count, to, stride }: { readonly first: string; count: string; to: string; stride: string },
): string => `
    for (var i = local; i < ${count} * CHUNK; i += INVOCATIONS) {
      let pair = i % CHUNK;
      let value = ${factor(`${first} + i / CHUNK`, 'chunk + pair')};
      let at = ${to} + 2u * pair * ${stride} + i / CHUNK;
      tile[at] = value[0];
      tile[at + ${stride}] = value[1];
    }`

const addRow = (score: string, i: number) => `${score} = add_product(${score}, tile[row_at + ${i}u * Y], columns);`

/** WGSL that declares and computes `scores`. Rows begin at position `first_row`, columns at `first_column`. */
export const scoresOf = (scores: string, rows: Factor, columns: Factor): string => `
    // Dawn and naga (gfx-rs/wgpu#9489) do not zero a variable without a value again in the next round of a loop.
    var ${scores} = array<vec4<f32>, 4>();
    for (var chunk = 0u; chunk < PAIRS; chunk += CHUNK) {
    ${stage(rows, { first: 'first_row', count: 'ROWS', to: '0u', stride: 'ROW_STRIDE' })}
    ${stage(columns, { first: 'first_column', count: 'COLUMNS', to: 'COLUMN_TILE', stride: 'COLUMN_STRIDE' })}
      workgroupBarrier();
      for (var slot = 0u; slot < 2u * CHUNK; slot++) {
        let row_at = slot * ROW_STRIDE + y;
        let column_at = COLUMN_TILE + slot * COLUMN_STRIDE + x;
        let columns = transpose(mat4x4<f32>(${four((j) => `tile[column_at + ${j}u * X]`, ', ')}));
        ${four((i) => addRow(`${scores}[${i}]`, i), '\n        ')}
      }
      workgroupBarrier();
    }`

/**
 * WGSL that adds weighted columns to `sums`. Weights are arranged like scores. Columns begin at position
 * `first_column`.
 */
export function addWeighted(
  { x, perRow, slots, block }: Tiles,
  sums: string,
  weights: string,
  columns: Factor,
): string {
  const addVector = (m: number, slot: number) => {
    const sum = (i: number) => `${sums}[${i * perRow + m}]`
    return `
        {
          let at = column_at + ${slot}u;
          let columns = mat4x4<f32>(${four((j) => `tile[at + ${j}u * BLOCK]`, ', ')});
          ${four((i) => `${sum(i)} = add_product(${sum(i)}, weights_${i}, columns);`, '\n          ')}
        }`
  }
  const vectorsFrom = (from: number) =>
    Array.from({ length: perRow }, (_, m) => m).filter((m) => m * x >= from && m * x < from + block)
  const addBlock = (from: number) => `
    for (var group = 0u; group < X; group += GROUPS) {
      for (var i = local; i < 2u * GROUPS * BLOCK; i += INVOCATIONS) {
        let column = i / (BLOCK / 2u);
        let pair = i % (BLOCK / 2u);
        let value = ${columns('first_column + group + column / 4u + column % 4u * X', `${from / 2}u + pair`)};
        let at = VALUE_TILE + column * BLOCK + 2u * pair;
        tile[at] = value[0];
        tile[at + 1u] = value[1];
      }
      workgroupBarrier();
      for (var i = 0u; i < GROUPS; i++) {
        let weight_at = (group + i) * ROW_STRIDE + y;
        let column_at = VALUE_TILE + 4u * i * BLOCK + x;
        ${four((i) => `let weights_${i} = tile[weight_at + ${i}u * Y];`, '\n        ')}${vectorsFrom(from)
          .map((m) => addVector(m, m * x - from))
          .join('')}
      }
      workgroupBarrier();
    }`
  return `
    ${four((i) => `tile[x * ROW_STRIDE + y + ${i}u * Y] = ${weights}[${i}];`, '\n    ')}${Array.from(
      { length: Math.ceil(slots / block) },
      (_, index) => addBlock(index * block),
    ).join('')}`
}

export interface Result {
  /** WGSL of the value of `sums[index]`, of row i of the invocation. */
  readonly value: (index: number, i: number) => string
  /** WGSL that writes a slot. */
  readonly write: (position: string, slot: string, value: string) => string
  /** Whether rows are rotated back. */
  readonly rotated?: boolean
}

/** WGSL that writes the result that `sums` hold. */
export function writeSums({ x, perRow }: Tiles, { value, write, rotated = false }: Result): string {
  const position = (i: number) => `first_row + y + ${i}u * Y`
  const direct = (m: number) => four((i) => write(position(i), `x + ${m * x}u`, value(i * perRow + m, i)))
  // The next or the previous invocation has the partner of a slot.
  const throughTile = (m: number) => {
    const back = (i: number) => {
      const [own, partner] = ['local', '(local ^ 1u)'].map((at) => `tile[${i}u * INVOCATIONS + ${at}]`)
      return `rotated_back(${own}, ${partner}, ${position(i)}, x + ${m * x}u)`
    }
    return `${four((i) => `tile[${i}u * INVOCATIONS + local] = ${value(i * perRow + m, i)};`)}
  workgroupBarrier();
  ${four((i) => write(position(i), `x + ${m * x}u`, back(i)))}
  workgroupBarrier();`
  }
  return Array.from({ length: perRow }, (_, m) => `\n  ${rotated ? throughTile(m) : direct(m)}`).join('')
}
