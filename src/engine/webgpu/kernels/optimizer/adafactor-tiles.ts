/** How Adafactor cuts a stack of matrices into tiles, one for each workgroup, and the memory for sums over them. */
import { adafactorStateSize } from '../../../contract/arena-kernels.ts'
import { type Lowered, rowsOf, WORKGROUP, type Workgroups, workgroupMain } from '../../contract.ts'
import { powerOfFourFrom } from '../reduce.ts'
import { type Vector, vectorOf } from '../vectors.ts'

/** Lanes of a tile; 16 for narrow matrices, at least as many as rows of a strand. */
const MAX_LANES = 64
const MIN_LANES = 16
/** Rows of a strand. */
export const ROWS = 8

/** Matrices, and how they are cut into tiles. */
export interface Stack {
  readonly count: number
  readonly rows: number
  readonly columns: number
  readonly vector: Vector
  /** Vectors of a row. */
  readonly vectors: number
  readonly lanes: number
  readonly strands: number
  readonly tilesDown: number
  readonly tilesAcross: number
  readonly stateSize: number
}

export function stackOf(count: number, rows: number, columns: number): Stack {
  const vector = vectorOf(columns)
  const vectors = columns / vector.width
  const lanes = Math.min(MAX_LANES, Math.max(MIN_LANES, powerOfFourFrom(vectors)))
  const strands = WORKGROUP / lanes
  const tilesDown = Math.ceil(rows / (strands * ROWS))
  const tilesAcross = Math.ceil(vectors / lanes)
  const stateSize = adafactorStateSize(rows, columns)
  return { count, rows, columns, vector, vectors, lanes, strands, tilesDown, tilesAcross, stateSize }
}

/** Scratch memory of a stack, by index. */
export const SCRATCH = { rowSums: 0, columnSums: 1, rowFactors: 2, columnFactors: 3, directionSums: 4, sizes: 5 }

export function scratchOf({ count, rows, columns, tilesDown, tilesAcross }: Stack): NonNullable<Lowered['scratch']> {
  const float32 = (...shape: number[]) => ({ dtype: 'float32', shape }) as const
  return [
    float32(count, tilesAcross, rows),
    float32(count, tilesDown, columns),
    float32(count, rows),
    float32(count, columns),
    float32(count, tilesDown, tilesAcross),
    float32(count),
  ]
}

/** Opens `main` for the tiles of all matrices. A lane has a column of vectors: its rows `first_row` to `end_row`. */
export const tileMain = ({ count, rows, vectors, lanes, strands, tilesDown, tilesAcross }: Stack): string => `
${workgroupMain(count * tilesDown * tilesAcross)} {
  let matrix = row / ${tilesDown * tilesAcross}u;
  let tile_row = row / ${tilesAcross}u % ${tilesDown}u;
  let tile_column = row % ${tilesAcross}u;
  let strand = local / ${lanes}u;
  let lane = local % ${lanes}u;
  let column = tile_column * ${lanes}u + lane;
  let first_row = (tile_row * ${strands}u + strand) * ${ROWS}u;
  let end_row = select(first_row, min(first_row + ${ROWS}u, ${rows}u), column < ${vectors}u);`

export const tileGroups = ({ count, tilesDown, tilesAcross }: Stack): Workgroups =>
  rowsOf(count * tilesDown * tilesAcross)
