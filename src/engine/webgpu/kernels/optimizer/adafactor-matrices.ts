/**
 * Adafactor of matrices. As on the CPU (src/engine/cpu/wasm/assembly/adafactor.ts), the direction of an element is its
 * gradient times a factor of its row and a factor of its column. Its mean square needs the factors, and the update
 * needs the mean square: three passes over the gradient, one over the parameter.
 *
 * A matrix is cut into *tiles*, each for one workgroup. Sums over a tile go to scratch memory; a later dispatch adds
 * them in the order of the tiles.
 */
import { type Dispatch, gridOf, linearMain, rowsOf, WORKGROUP, workgroupMain } from '../contract.ts'
import { dispatchOf } from '../dispatch.ts'
import { reduction } from '../reduce.ts'
import { columnFactors, rowFactors, squares } from './adafactor-factors.ts'
import { type AdafactorOperands, type Stack, stackOf, tileGroups, tileMain } from './adafactor-tiles.ts'

export function matrixDispatches(operands: AdafactorOperands): Dispatch[] {
  const stack = stackOf(operands)
  const passes = [squares, rowFactors, columnFactors, directionSquares, updateSizes, update]
  return passes.map((pass) => pass(stack))
}

/** Writes the sums of squares of the direction over each tile. */
function directionSquares(stack: Stack): Dispatch {
  const { g, rowFactors, columnFactors, directionSums, rows, vector, vectors } = stack
  const as = vector.type
  return dispatchOf({
    name: 'adafactor direction',
    operands: {
      g: { of: g, as },
      row_factors: rowFactors,
      column_factors: { of: columnFactors, as },
      sums: directionSums,
    },
    workgroups: tileGroups(stack),
    code: ({ g, row_factors, column_factors, sums }) => `
${reduction({ name: 'sum_of_group', lanes: WORKGROUP })}
${tileMain(stack)}
  let factor = ${column_factors}[matrix * ${vectors}u + column];
  var sum = 0.0;
  for (var r = first_row; r < end_row; r++) {
    let x = ${g}[(matrix * ${rows}u + r) * ${vectors}u + column] * ${row_factors}[matrix * ${rows}u + r] * factor;
    sum += ${vector.total('(x * x)')};
  }
  let all = sum_of_group(sum, local);
  if (local == 0u) { ${sums}[row] = all; }
}`,
  })
}

/** Writes rate / max(1, root mean square of the direction) of each matrix. */
function updateSizes(stack: Stack): Dispatch {
  const { settings, directionSums, sizes, count, rows, columns, tilesDown, tilesAcross } = stack
  return dispatchOf({
    name: 'adafactor sizes',
    operands: { settings, sums: directionSums, sizes },
    workgroups: rowsOf(count),
    code: ({ settings, sums, sizes }) => `
${reduction({ name: 'sum_of_group', lanes: WORKGROUP })}
${workgroupMain(count)} {
  var sum = 0.0;
  for (var tile = local; tile < ${tilesDown * tilesAcross}u; tile += ${WORKGROUP}u) {
    sum += ${sums}[row * ${tilesDown * tilesAcross}u + tile];
  }
  let all = sum_of_group(sum, local);
  if (local == 0u) { ${sizes}[row] = ${settings}[1] / max(1.0, sqrt(all / ${rows * columns}f)); }
}`,
  })
}

/** Updates the parameters: p ← keep·p − size·direction. */
function update(stack: Stack): Dispatch {
  const { p, g, settings, gate, rowFactors, columnFactors, sizes, count, rows, vector, vectors } = stack
  const as = vector.type
  const total = count * rows * vectors
  return dispatchOf({
    name: 'adafactor update',
    operands: {
      p: { of: p, as },
      g: { of: g, as },
      settings,
      gate,
      row_factors: rowFactors,
      column_factors: { of: columnFactors, as },
      sizes,
    },
    workgroups: gridOf(total),
    code: ({ p, g, settings, gate, row_factors, column_factors, sizes }) => `
${linearMain(total)} {
  if (${gate}[2] != 1.0) { return; }
  let r = index / ${vectors}u;
  let matrix = r / ${rows}u;
  let factor = ${column_factors}[matrix * ${vectors}u + index % ${vectors}u];
  let direction = ${g}[index] * ${row_factors}[r] * factor;
  ${p}[index] = ${p}[index] * ${settings}[2] - direction * ${sizes}[matrix];
}`,
  })
}
