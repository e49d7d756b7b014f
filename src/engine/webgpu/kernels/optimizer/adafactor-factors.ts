/** Adafactor's factors of rows and columns, from means of squared gradients. */
import { type Dispatch, rowsOf, WORKGROUP, workgroupMain } from '../contract.ts'
import { dispatchOf } from '../dispatch.ts'
import { reduction, strandSum } from '../reduce.ts'
import { ROWS, type Stack, tileGroups, tileMain } from './adafactor-tiles.ts'

/** The number that is added to squared gradients: ε₁ of Shazeer and Stern 2018. */
export const FLOOR = '1e-30f'

/** Type of the sums over the rows of a strand: components of one value, so that one tree adds them all. */
const ROW_SUMS = 'mat2x4<f32>'

/** Writes the sums over rows and over columns of (scale·g)² for each tile. */
export function squares(stack: Stack): Dispatch {
  const { g, gate, rowSums, columnSums, rows, vector, vectors, lanes, tilesDown, tilesAcross } = stack
  const as = vector.type
  return dispatchOf({
    name: 'adafactor squares',
    operands: { g: { of: g, as }, gate, row_sums: rowSums, column_sums: { of: columnSums, as } },
    workgroups: tileGroups(stack),
    code: ({ g, gate, row_sums, column_sums }) => `
${reduction({ name: 'sums_of_rows', type: ROW_SUMS, lanes })}
${strandSum({ name: 'sum_of_strands', type: as, lanes })}
${tileMain(stack)}
  var row_squares = ${ROW_SUMS}();
  var column_squares = ${as}();
  // Of constant length, so that the components stay in registers.
  for (var i = 0u; i < ${ROWS}u; i++) {
    let r = first_row + i;
    if (r < end_row) {
      let x = ${g}[(matrix * ${rows}u + r) * ${vectors}u + column] * ${gate}[1];
      row_squares[i / 4u][i % 4u] = ${vector.total('(x * x)')};
      column_squares += x * x;
    }
  }
  let of_rows = sums_of_rows(row_squares, local);
  let r = first_row + lane;
  if (lane < ${ROWS}u && r < ${rows}u) {
    ${row_sums}[(matrix * ${tilesAcross}u + tile_column) * ${rows}u + r] = of_rows[lane / 4u][lane % 4u];
  }
  let of_column = sum_of_strands(column_squares, local);
  if (strand == 0u && column < ${vectors}u) {
    ${column_sums}[(matrix * ${tilesDown}u + tile_row) * ${vectors}u + column] = of_column;
  }
}`,
  })
}

/** Updates the means of rows, R, and makes their factors scale·√(mean R / R). A workgroup has all rows of a matrix. */
export function rowFactors(stack: Stack): Dispatch {
  const { state, settings, gate, count, rows, columns, tilesAcross, stateSize } = stack
  return dispatchOf({
    name: 'adafactor row factors',
    operands: { state, settings, gate, row_sums: stack.rowSums, factors: stack.rowFactors },
    workgroups: rowsOf(count),
    code: ({ state, settings, gate, row_sums, factors }) => `
${reduction({ name: 'sum_of_group', lanes: WORKGROUP })}
${workgroupMain(count)} {
  let beta = ${settings}[0];
  var total = 0.0;
  for (var r = local; r < ${rows}u; r += ${WORKGROUP}u) {
    var sum = 0.0;
    for (var tile = row * ${tilesAcross}u; tile < (row + 1u) * ${tilesAcross}u; tile++) {
      sum += ${row_sums}[tile * ${rows}u + r];
    }
    let at = row * ${stateSize}u + r;
    let mean = beta * ${state}[at] + (1.0 - beta) * (sum / ${columns}f + ${FLOOR});
    if (${gate}[2] == 1.0) { ${state}[at] = mean; }
    ${factors}[row * ${rows}u + r] = mean;
    total += mean;
  }
  // Two roots, because the quotient could overflow.
  let factor = ${gate}[1] * sqrt(sum_of_group(total, local) / ${rows}f);
  for (var r = local; r < ${rows}u; r += ${WORKGROUP}u) {
    let at = row * ${rows}u + r;
    ${factors}[at] = factor / sqrt(${factors}[at]);
  }
}`,
  })
}

/** Number of columns of a workgroup of {@link columnFactors}: few, so that there are many workgroups. */
const COLUMNS = 16

/** Updates the means of columns, C, and makes their factors 1/√C. */
export function columnFactors(stack: Stack): Dispatch {
  const { state, settings, gate, count, rows, columns, tilesDown, stateSize } = stack
  const groups = Math.ceil(columns / COLUMNS)
  const strands = WORKGROUP / COLUMNS
  return dispatchOf({
    name: 'adafactor column factors',
    operands: { state, settings, gate, column_sums: stack.columnSums, factors: stack.columnFactors },
    workgroups: rowsOf(count * groups),
    code: ({ state, settings, gate, column_sums, factors }) => `
${strandSum({ name: 'sum_of_strands', lanes: COLUMNS })}
${workgroupMain(count * groups)} {
  let matrix = row / ${groups}u;
  let column = row % ${groups}u * ${COLUMNS}u + local % ${COLUMNS}u;
  let strand = local / ${COLUMNS}u;
  let end = select(0u, ${tilesDown}u, column < ${columns}u);
  var sum = 0.0;
  for (var tile = strand; tile < end; tile += ${strands}u) {
    sum += ${column_sums}[(matrix * ${tilesDown}u + tile) * ${columns}u + column];
  }
  let all = sum_of_strands(sum, local);
  if (strand > 0u || column >= ${columns}u) { return; }
  let beta = ${settings}[0];
  let at = matrix * ${stateSize}u + ${rows}u + column;
  let mean = beta * ${state}[at] + (1.0 - beta) * (all / ${rows}f + ${FLOOR});
  if (${gate}[2] == 1.0) { ${state}[at] = mean; }
  ${factors}[matrix * ${columns}u + column] = 1.0 / sqrt(mean);
}`,
  })
}
