/**
 * The places of the rows of experts: R rows packed expert by expert, or, if they come from E ranks, rank by rank and
 * expert by expert within. Only the device knows how many rows such a *block* has.
 *
 * A first dispatch makes from the sizes a list of *row tiles*, each of one expert, and counts the workgroups of the
 * products that follow. So the products compute nothing for rows that do not exist, and the host reads nothing back. A
 * layer and its gradient share the list.
 */
import { type Dispatch, type Operand, scratch, WORKGROUP } from '../contract.ts'
import type { Tile } from '../products/product-tiles.ts'

export interface RowTiles {
  readonly tile: Tile
  /** N */
  readonly experts: number
  /** E */
  readonly sources: number
  /** The row tiles, i32 [maxTiles, 4]: the block, the first row, and the end of the block's rows. */
  readonly tiles: Operand
  /** The first row of each block, and the end of all rows, i32 [E·N + 1]. */
  readonly starts: Operand
  /** Numbers of workgroups of a product, by its number of columns. */
  readonly grids: ReadonlyMap<number, Operand>
  readonly dispatch: Dispatch
}

/**
 * @param sizes Number of rows of each block, then of unused rows, i32 [E·N + 1].
 * @param columns Numbers of columns of the products that follow.
 */
export function tileRows(
  {
    sizes,
    rows,
    experts,
    sources,
    tile,
  }: Pick<RowTiles, 'experts' | 'sources' | 'tile'> & { sizes: Operand; rows: number },
  columns: readonly number[],
): RowTiles {
  const blocks = sources * experts
  const maxTiles = Math.floor(rows / tile.rows) + blocks
  if (maxTiles > 65535) throw new Error(`internal: ${maxTiles} tiles of rows, more than a dispatch can have`)
  const tiles = scratch('int32', [maxTiles, 4])
  const starts = scratch('int32', [blocks + 1])
  const grids = new Map([...new Set(columns)].map((count) => [count, scratch('int32', [3])]))
  return {
    tile,
    experts,
    sources,
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
  // Each invocation has neighbouring blocks. First the rows and tiles before them.
  let first = min(local * ${Math.ceil(blocks / WORKGROUP)}u, ${blocks}u);
  let end = min(first + ${Math.ceil(blocks / WORKGROUP)}u, ${blocks}u);
  var own_rows = 0u;
  var own_tiles = 0u;
  for (var block = first; block < end; block++) {
    let size = u32(${ofSizes}[block]);
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
  for (var block = first; block < end; block++) {
    let last = row + u32(${ofSizes}[block]);
    ${ofStarts}[block] = i32(row);
    for (; row < last; row = min(row + ${tile.rows}u, last)) {
      ${ofTiles}[tile] = vec4<i32>(i32(block), i32(row), i32(last), 0);
      tile++;
    }
  }
  if (local == ${WORKGROUP - 1}u) {
    ${ofStarts}[${blocks}] = i32(rows[local]);
    ${[...grids.keys()].map((count, i) => gridCode(ofGrids[i] as string, Math.ceil(count / tile.columns))).join('\n    ')}
  }
}`,
    },
  }
}

const gridCode = (grid: string, across: number): string =>
  `${grid}[0] = ${across}u; ${grid}[1] = tiles[local]; ${grid}[2] = 1u;`
