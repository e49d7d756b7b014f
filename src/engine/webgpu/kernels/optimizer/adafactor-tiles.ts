/** How Adafactor cuts a stack of matrices into tiles, one for each workgroup, and the memory for sums over them. */
import { dim } from '../../../../core/graph/shape.ts'
import { adafactorStateSize } from '../../../contract/arena-kernels.ts'
import { type Operand, rowsOf, scratch, WORKGROUP, type Workgroups, workgroupMain } from '../contract.ts'
import { powerOfFourFrom } from '../reduce.ts'
import { vectorOf } from '../vectors.ts'

/** Number of lanes of a tile: 16 for narrow matrices, at least as many as a strand has rows. */
const MAX_LANES = 64
const MIN_LANES = 16
/** Number of rows of a strand. */
export const ROWS = 8

export interface AdafactorOperands {
  /** Tensors of one shape [count, rows, columns], or vectors [count, columns]. */
  readonly p: Operand
  readonly g: Operand
  /** State of the tensors [count, `adafactorStateSize`]. */
  readonly state: Operand
  /** The numbers β₂, rate and keep. */
  readonly settings: Operand
  readonly gate: Operand
}

/** Matrices, how they are cut into tiles, and memory for sums over them. */
export type Stack = ReturnType<typeof stackOf>

export function stackOf(operands: AdafactorOperands) {
  const { shape } = operands.p
  const [count, rows, columns] = [dim(shape, 0), dim(shape, 1), dim(shape, 2)]
  const vector = vectorOf(columns)
  const vectors = columns / vector.width
  const lanes = Math.min(MAX_LANES, Math.max(MIN_LANES, powerOfFourFrom(vectors)))
  const strands = WORKGROUP / lanes
  const tilesDown = Math.ceil(rows / (strands * ROWS))
  const tilesAcross = Math.ceil(vectors / lanes)
  return {
    ...operands,
    count,
    rows,
    columns,
    vector,
    /** Number of vectors of a row. */
    vectors,
    lanes,
    strands,
    tilesDown,
    tilesAcross,
    stateSize: adafactorStateSize(rows, columns),
    rowSums: scratch('float32', [count, tilesAcross, rows]),
    columnSums: scratch('float32', [count, tilesDown, columns]),
    rowFactors: scratch('float32', [count, rows]),
    columnFactors: scratch('float32', [count, columns]),
    directionSums: scratch('float32', [count, tilesDown, tilesAcross]),
    sizes: scratch('float32', [count]),
  }
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
