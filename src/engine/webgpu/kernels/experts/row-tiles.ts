/**
 * The places of the rows of experts: R rows packed expert by expert. Only the device knows how many rows an expert has.
 *
 * A first dispatch makes from the sizes a list of *row tiles*, each of one expert, and counts the workgroups of the
 * products that follow. So the products compute nothing for rows that do not exist, and the host reads nothing back. A
 * layer and its gradient share the list.
 */
import { type Dispatch, type Operand, scratch, WORKGROUP } from '../../contract.ts'
import type { Tile } from '../products/product-tiles.ts'

export interface RowTiles {
  readonly tile: Tile
  readonly experts: number
  /** The row tiles, i32 [maxTiles, 4]: the expert, the first row, and the end of the expert's rows. */
  readonly tiles: Operand
  /** The first row of each expert, and the end of all rows, i32 [N + 1]. */
  readonly starts: Operand
  /** Numbers of workgroups of a product, by its number of columns. */
  readonly grids: ReadonlyMap<number, Operand>
  readonly dispatch: Dispatch
}

/**
 * @param sizes Number of rows of each expert, then of unused rows, i32 [N + 1].
 * @param columns Numbers of columns of the products that follow.
 */
export function tileRows(
  { sizes, rows, experts, tile }: { sizes: Operand; rows: number; experts: number; tile: Tile },
  columns: readonly number[],
): RowTiles {
  const maxTiles = Math.floor(rows / tile.rows) + experts
  if (maxTiles > 65535) throw new Error(`internal: ${maxTiles} tiles of rows, more than a dispatch can have`)
  const tiles = scratch('int32', [maxTiles, 4])
  const starts = scratch('int32', [experts + 1])
  const grids = new Map([...new Set(columns)].map((count) => [count, scratch('int32', [3])]))
  return {
    tile,
    experts,
    tiles,
    starts,
    grids,
    dispatch: {
      name: 'row tiles of experts',
      shared: true,
      operands: [
        { of: sizes },
        { of: tiles, as: 'vec4<i32>' },
        { of: starts },
        ...[...grids.values()].map((of) => ({ of, as: 'u32' as const })),
      ],
      workgroups: [1, 1, 1],
      code: ([ofSizes, ofTiles, ofStarts, ...ofGrids]) => `
var<workgroup> rows: array<u32, ${WORKGROUP}>;
var<workgroup> tiles: array<u32, ${WORKGROUP}>;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(local_invocation_index) local: u32) {
  // Each invocation has neighbouring experts. First the rows and tiles before them.
  let first = min(local * ${Math.ceil(experts / WORKGROUP)}u, ${experts}u);
  let end = min(first + ${Math.ceil(experts / WORKGROUP)}u, ${experts}u);
  var own_rows = 0u;
  var own_tiles = 0u;
  for (var expert = first; expert < end; expert++) {
    let size = u32(${ofSizes}[expert]);
    own_rows += size;
    own_tiles += (size + ${tile.rows - 1}u) / ${tile.rows}u;
  }
  rows[local] = own_rows;
  tiles[local] = own_tiles;
  workgroupBarrier();
  // Inclusive sums over invocations (Hillis and Steele 1986).
  for (var distance = 1u; distance < ${WORKGROUP}u; distance *= 2u) {
    var rows_before = 0u;
    var tiles_before = 0u;
    if (local >= distance) {
      rows_before = rows[local - distance];
      tiles_before = tiles[local - distance];
    }
    workgroupBarrier();
    rows[local] += rows_before;
    tiles[local] += tiles_before;
    workgroupBarrier();
  }
  var row = rows[local] - own_rows;
  var tile = tiles[local] - own_tiles;
  for (var expert = first; expert < end; expert++) {
    let last = row + u32(${ofSizes}[expert]);
    ${ofStarts}[expert] = i32(row);
    for (; row < last; row = min(row + ${tile.rows}u, last)) {
      ${ofTiles}[tile] = vec4<i32>(i32(expert), i32(row), i32(last), 0);
      tile++;
    }
  }
  if (local == ${WORKGROUP - 1}u) {
    ${ofStarts}[${experts}] = i32(rows[local]);
    ${[...grids.keys()].map((count, i) => gridCode(ofGrids[i] as string, Math.ceil(count / tile.columns))).join('\n    ')}
  }
}`,
    },
  }
}

const gridCode = (grid: string, across: number): string =>
  `${grid}[0] = ${across}u; ${grid}[1] = tiles[local]; ${grid}[2] = 1u;`
