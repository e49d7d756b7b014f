/**
 * Matrix products in tiles: the WGSL that all products share.
 *
 * Think of a product as a list of *jobs*, one for each workgroup: a tile of the result, and a range of the inner
 * dimension to sum over. A workgroup walks along the inner range. At each step it copies a block of both factors to
 * workgroup memory, with the inner dimension outermost; then each invocation adds products to its part of the tile,
 * which it keeps in registers. The next blocks are read from memory while the current ones are multiplied. Blocks are
 * float32, or f16 if factors are rounded; products and sums are float32.
 *
 * A caller describes factors and jobs, and what to do with results, so that the same code serves batches of matrices,
 * parts of long sums, and rows packed by expert.
 */
import { converted, type Float, type Floats, readFour } from './floats.ts'

/** The part of a result that a workgroup computes. All sizes are multiples of 4. */
export interface Tile {
  readonly rows: number
  readonly columns: number
  /** Length of a step along the inner dimension. */
  readonly inner: number
  /** Rows and columns of results of each invocation. */
  readonly each: { readonly rows: number; readonly columns: number }
}

/**
 * Tiles from the most efficient to the smallest. A product with b×b results in registers needs 2b reads of workgroup
 * memory for b² multiplications.
 */
export const TILES = [
  { rows: 128, columns: 128, inner: 8, each: { rows: 8, columns: 8 } },
  { rows: 64, columns: 64, inner: 16, each: { rows: 8, columns: 4 } },
  { rows: 32, columns: 32, inner: 16, each: { rows: 4, columns: 4 } },
] as const satisfies readonly Tile[]

/** Number of workgroups that keep a large GPU busy: two for each of about 130 cores. */
export const ENOUGH_WORKGROUPS = 256

/**
 * A factor. Its *outer* dimension is a dimension of the result: rows of the left factor, columns of the right factor.
 */
export interface Factor extends Floats {
  /** The dimension whose neighbours are neighbours in memory. */
  readonly along: 'inner' | 'outer'
  /** Count of numbers from one line of memory to the next. */
  readonly stride: number
}

export interface TiledProduct {
  readonly tile: Tile
  readonly left: Factor
  readonly right: Factor
  /** Number of columns of the result. */
  readonly columns: number
  /** Whether factors are rounded to f16. */
  readonly rounds: boolean
  /** Number of jobs, if there may be more workgroups. */
  readonly jobs?: number
  /** WGSL: `fn job_of(index: u32) -> Job`. */
  readonly job: string
  /** WGSL: `fn inner_of(index: u32, local: u32) -> vec2<u32>`, the begin and end of the sum, uniform in a workgroup. */
  readonly inner: string
  /** Whether every inner range is a whole number of steps. */
  readonly wholeSteps: boolean
  /**
   * WGSL: `fn finish(job: Job, row: u32, column: u32, value: vec4<f32>)`, called with four neighbours of a row of the
   * result, of which the neighbours from `columns` on do not exist.
   */
  readonly finish: string
}

const JOB = `
struct Job {
  // Where the matrices of this job begin.
  left: u32,
  right: u32,
  result: u32,
  // The tile: its first row, the end of all rows, its first column.
  row: u32,
  rows: u32,
  column: u32,
}`

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

/**
 * Number of vectors from one line of a block in workgroup memory to the next. With one vector more than the block has,
 * transposed blocks are stored with few conflicts of banks.
 */
const pitch = (size: number): number => size / 4 + 1

const typeOf = ({ rounds }: TiledProduct): Float => (rounds ? 'f16' : 'f32')

/**
 * `fn SIDE_block(job, outer, inner, end) -> mat4x4<TYPE>`: 4×4 numbers of a factor from [outer, inner] on, a column for
 * each step of the inner dimension, zero from `end` on. Numbers beyond the outer dimension are arbitrary: only results
 * that do not exist use them.
 */
function blockCode(side: 'left' | 'right', product: TiledProduct): string {
  const { wholeSteps } = product
  const { along, stride } = product[side]
  const type = typeOf(product)
  const lines = range(4).map((i) => `at + ${i * stride}u`)
  const line = (i: number) => `read_${side}(${lines[i]}, 4u)`
  const masked = (i: number) => {
    if (wholeSteps) return line(i)
    return along === 'inner'
      ? `select(vec4<${type}>(), ${line(i)}, inner + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(end))`
      : `select(vec4<${type}>(), ${line(i)}, inner + ${i}u < end)`
  }
  const block = `mat4x4<${type}>(
    ${range(4).map(masked).join(',\n    ')})`
  return `${readFour(`read_${side}`, product[side], type)}
fn ${side}_block(job: Job, outer: u32, inner: u32, end: u32) -> mat4x4<${type}> {
  let at = job.${side} + ${along === 'inner' ? `outer * ${stride}u + inner` : `inner * ${stride}u + outer`};
  return ${along === 'inner' ? `transpose(${block})` : block};
}`
}

/**
 * The 4×4 block of a factor that an invocation moves: neighbouring invocations move blocks that are neighbours in
 * memory.
 */
const placeOf = (size: number, { along }: Factor, { inner }: Tile): { outer: string; inner: string } =>
  along === 'inner'
    ? { outer: `local / ${inner / 4}u`, inner: `local % ${inner / 4}u` }
    : { outer: `local % ${size / 4}u`, inner: `local / ${size / 4}u` }

/**
 * WGSL of `read_block` and `store_block`: each invocation moves one block, the first invocations blocks of the left
 * factor.
 */
function movingCode(product: TiledProduct): string {
  const { tile, left, right } = product
  const block = `mat4x4<${typeOf(product)}>`
  const sides = [
    { side: 'left', size: tile.rows, factor: left, first: 'job.row' },
    { side: 'right', size: tile.columns, factor: right, first: 'job.column' },
  ] as const
  const blocks = (size: number) => (size * tile.inner) / 16
  const branches = (body: (of: (typeof sides)[number], place: { outer: string; inner: string }) => string) =>
    sides
      .map(
        (of) => `
  if (local < ${blocks(of.size)}u) {${body(of, placeOf(of.size, of.factor, tile))}
  }
  local -= ${blocks(of.size)}u;`,
      )
      .join('')
  return `
fn read_block(job: Job, inner: u32, end: u32, invocation: u32) -> ${block} {
  var local = invocation;${branches(
    ({ side, first }, place) => `
    return ${side}_block(job, ${first} + 4u * (${place.outer}), inner + 4u * (${place.inner}), end);`,
  )}
  return ${block}();
}
fn store_block(block: ${block}, invocation: u32) {
  var local = invocation;${branches(
    ({ side, size }, place) => `
    let at = 4u * (${place.inner}) * ${pitch(size)}u + ${place.outer};
    ${range(4)
      .map((i) => `${side}_tile[at + ${i * pitch(size)}u] = block[${i}];`)
      .join('\n    ')}
    return;`,
  )}
}`
}

/**
 * WGSL that gives the sums of an invocation to `finish`, row by row. The loop has one copy of `finish`, which may be
 * long: with a copy for each row, compilers take seconds.
 */
function finishingCode({ tile, columns }: TiledProduct): string {
  const across = tile.columns / tile.each.columns
  const down = tile.rows / tile.each.rows
  const [rows, groups] = [range(tile.each.rows), range(tile.each.columns / 4)]
  const values = (row: number) => groups.map((h) => `value_${h} = sum_${row}_${h};`).join(' ')
  const label = (row: number) => (row + 1 === rows.length ? 'default' : `case ${row}u`)
  const column = (group: number) => `job.column + 4u * x + ${4 * group * across}u`
  return `for (var i = 0u; i < ${rows.length}u; i++) {
    let row = job.row + 4u * y + i % 4u + ${4 * down}u * (i / 4u);
    if (row >= job.rows) { break; }
    ${groups.map((h) => `var value_${h}: vec4<f32>;`).join('\n    ')}
    switch i {
      ${rows.map((row) => `${label(row)}: { ${values(row)} }`).join('\n      ')}
    }
    ${groups.map((h) => `if (${column(h)} < ${columns}u) { finish(job, row, ${column(h)}, value_${h}); }`).join('\n    ')}
  }`
}

/**
 * The WGSL of a product. An invocation has groups of 4 neighbouring rows and columns, the groups as far apart as
 * possible: then neighbouring invocations read neighbouring vectors.
 */
export function productCode(product: TiledProduct): string {
  const { tile, jobs, job, inner, finish } = product
  const type = typeOf(product)
  const across = tile.columns / tile.each.columns
  const down = tile.rows / tile.each.rows
  const [rows, rowGroups, groups] = [range(tile.each.rows), range(tile.each.rows / 4), range(tile.each.columns / 4)]
  const sums = rows.flatMap((row) => groups.map((h) => ({ row, h, name: `sum_${row}_${h}` })))
  const [leftPitch, rightPitch] = [pitch(tile.rows), pitch(tile.columns)]
  const add = ({ row, h, name }: (typeof sums)[number]) =>
    `${name} = fma(vec4<f32>(left_${Math.floor(row / 4)}[${row % 4}]), right_${h}, ${name});`
  return `${JOB}
${job}
${inner}
${blockCode('left', product)}
${blockCode('right', product)}
${finish}

var<workgroup> left_tile: array<vec4<${type}>, ${tile.inner * leftPitch}>;
var<workgroup> right_tile: array<vec4<${type}>, ${tile.inner * rightPitch}>;
${movingCode(product)}

@compute @workgroup_size(${across * down})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let index = group.y * groups.x + group.x;
  ${jobs === undefined ? '' : `if (index >= ${jobs}u) { return; }`}
  let job = job_of(index);
  let range = inner_of(index, local);
  let x = local % ${across}u;
  let y = local / ${across}u;
  ${sums.map(({ name }) => `var ${name} = vec4<f32>();`).join('\n  ')}
  var block: mat4x4<${type}>;
  for (var inner = range.x; inner < range.y + ${tile.inner}u; inner += ${tile.inner}u) {
    // Memory is far away: this step is read while the one before is multiplied.
    if (inner < range.y) { block = read_block(job, inner, range.y, local); }
    if (inner > range.x) {
      for (var k = 0u; k < ${tile.inner}u; k++) {
        ${rowGroups.map((g) => `let left_${g} = ${converted(`left_tile[k * ${leftPitch}u + y + ${g * down}u]`, type, 'f32')};`).join('\n        ')}
        ${groups.map((h) => `let right_${h} = ${converted(`right_tile[k * ${rightPitch}u + x + ${h * across}u]`, type, 'f32')};`).join('\n        ')}
        ${sums.map(add).join('\n        ')}
      }
    }
    workgroupBarrier();
    store_block(block, local);
    workgroupBarrier();
  }
  ${finishingCode(product)}
}`
}
