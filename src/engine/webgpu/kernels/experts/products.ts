/** Products over rows packed by expert, as tiled products: of rows with matrices, and of rows with rows. */
import { type Dispatch, rowsOf } from '../contract.ts'
import type { Lines } from '../products/floats.ts'
import { type Output, productDispatch } from '../products/output.ts'
import { productCode, type Tile } from '../products/product-tiles.ts'
import type { RowTiles } from './row-tiles.ts'

/** Rows [R, columns] times the matrix of their expert [N, columns, n], or its transpose [N, n, columns]. */
export interface RowProduct {
  readonly name: string
  readonly rowTiles: RowTiles
  readonly rows: Lines
  readonly matrices: Lines
  readonly transposed?: boolean
  readonly inner: number
  readonly columns: number
  /** Whether factors are rounded to f16. */
  readonly rounds: boolean
  /** Takes results [R, n]; rows that no expert has are not computed. */
  readonly output: Output
}

export function rowProduct({
  name,
  rowTiles,
  rows,
  matrices,
  transposed = false,
  inner,
  columns,
  rounds,
  output,
}: RowProduct): Dispatch {
  const { tile, tiles, grids, experts, sources } = rowTiles
  const across = Math.ceil(columns / tile.columns)
  const grid = grids.get(columns)
  if (!grid) throw new Error(`internal: the row tiles of ${name} have no grid for ${columns} columns`)
  return productDispatch({
    name,
    workgroups: { indirect: grid },
    list: { of: tiles, as: 'vec4<i32>' },
    factors: { left: rows, right: matrices },
    output,
    code: ({ left, right }, put, list) =>
      productCode({
        tile,
        left: { ...left, along: 'inner', stride: inner },
        right: { ...right, ...(transposed ? { along: 'inner', stride: inner } : { along: 'outer', stride: columns }) },
        columns,
        rounds,
        job: `
fn job_of(index: u32) -> Job {
  let tile = vec4<u32>(${list}[index / ${across}u]);
  var job: Job;
  job.right = tile.x${sources > 1 ? ` % ${experts}u` : ''} * ${inner * columns}u;
  job.row = tile.y;
  job.rows = tile.z;
  job.column = index % ${across}u * ${tile.columns}u;
  return job;
}`,
        inner: `
fn inner_of(index: u32, local: u32) -> vec2<u32> { return vec2<u32>(0u, ${inner}u); }`,
        wholeSteps: inner % tile.inner === 0,
        finish: `${put}
fn finish(job: Job, row: u32, column: u32, value: vec4<f32>) {
  put(row * ${columns}u + column, ${columns}u - column, value);
}`,
      }),
  })
}

/**
 * leftᵀ·right over the rows of each expert: [R, m], [R, n] → [N, m, n], or [N, E, m, n] if rows come from E ranks; zero
 * for an expert without rows.
 */
export interface RowGradient {
  readonly name: string
  readonly rowTiles: RowTiles
  readonly tile: Tile
  readonly left: Lines
  readonly right: Lines
  /** Whether factors are rounded to f16. */
  readonly rounds: boolean
  readonly output: Output
}

export function rowGradient({ name, rowTiles, tile, left, right, rounds, output }: RowGradient): Dispatch {
  const { experts, sources, starts } = rowTiles
  const [m, n] = [left.line, right.line]
  const [down, across] = [Math.ceil(m / tile.rows), Math.ceil(n / tile.columns)]
  const jobs = down * across * sources * experts
  const result = sources > 1 ? `(block % ${experts}u * ${sources}u + block / ${experts}u)` : 'block'
  return productDispatch({
    name,
    workgroups: rowsOf(jobs),
    list: { of: starts },
    factors: { left, right },
    output,
    code: ({ left, right }, put, begins) =>
      productCode({
        tile,
        left: { ...left, along: 'outer', stride: m },
        right: { ...right, along: 'outer', stride: n },
        columns: n,
        rounds,
        jobs,
        job: `
fn job_of(index: u32) -> Job {
  var job: Job;
  let block = index / ${down * across}u;
  job.result = ${result} * ${m * n}u;
  job.row = index / ${across}u % ${down}u * ${tile.rows}u;
  job.rows = ${m}u;
  job.column = index % ${across}u * ${tile.columns}u;
  return job;
}`,
        // WGSL does not know that all invocations read the same number from memory.
        inner: `
var<workgroup> block_rows: vec2<u32>;
fn inner_of(index: u32, local: u32) -> vec2<u32> {
  let block = index / ${down * across}u;
  if (local == 0u) { block_rows = vec2<u32>(u32(${begins}[block]), u32(${begins}[block + 1u])); }
  return workgroupUniformLoad(&block_rows);
}`,
        wholeSteps: false,
        finish: `${put}
fn finish(job: Job, row: u32, column: u32, value: vec4<f32>) {
  put(job.result + row * ${n}u + column, ${n}u - column, value);
}`,
      }),
  })
}
