/** Additions in place: of ranges, and of rows to rows of a table. */
import { dim } from '../../../../core/graph/shape.ts'
import {
  type Dispatch,
  gridOf,
  linearMain,
  type Operand,
  rowsOf,
  scratch,
  WORKGROUP,
  workgroupMain,
} from '../contract.ts'
import { dispatchOf } from '../dispatch.ts'
import { vectorOf, widthOf } from '../vectors.ts'

/** Adds a range to another: to ← to + from. */
export function addDispatch({ to, from }: { readonly to: Operand; readonly from: Operand }): Dispatch {
  const { type: as, width } = vectorOf(to.size)
  return dispatchOf({
    name: 'add',
    operands: { to: { of: to, as }, from: { of: from, as } },
    workgroups: gridOf(to.size / width),
    code: ({ to, from }) => `${linearMain(`arrayLength(&${to})`)} { ${to}[index] += ${from}[index]; }`,
  })
}

export interface ScatterOperands {
  /** [tableRows, width] */
  readonly table: Operand
  /** [rowCount, width] */
  readonly rows: Operand
  /** int32 [rowCount] */
  readonly indices: Operand
}

/**
 * table[indices[r]] += rows[r], in the order of r, with the same bits as one addition after the other. Rows whose index
 * is outside the table are skipped.
 *
 * Rows are sorted by index, and by r among equal indices. The place of each row is found by counting: rowCount²
 * comparisons of integers, which are cheap for the up to 65,536 tokens of a batch. Then the first row of each index
 * adds all rows with this index.
 */
export function scatterAddRowsDispatches(operands: ScatterOperands): Dispatch[] {
  const { rows, indices } = operands
  if (rows.size === 0) return []
  const integers = () => scratch('int32', indices.shape)
  const runs = { order: integers(), starts: integers(), counts: integers() }
  return [sortRows(indices, runs), addRuns(operands, runs)]
}

interface Runs {
  /** Rows in sorted order. */
  readonly order: Operand
  /**
   * The first place of each row's index in this order, and the number of rows with this index, which only the first of
   * these rows has; the others have 0.
   */
  readonly starts: Operand
  readonly counts: Operand
}

/**
 * Each invocation compares the index of its row with all other indices, which pass through the memory of the workgroup.
 */
function sortRows(indices: Operand, runs: Runs): Dispatch {
  const rowCount = indices.size
  const groups = Math.ceil(rowCount / WORKGROUP)
  return dispatchOf({
    name: 'scatter-add-rows sort',
    operands: { indices, ...runs },
    workgroups: rowsOf(groups),
    code: ({ indices, order, starts, counts }) => `
var<workgroup> tile: array<vec4<i32>, ${WORKGROUP / 4}>;
// Beyond the last row: larger than any index.
fn index_of(r: u32) -> i32 { return select(0x7fffffff, ${indices}[min(r, ${rowCount - 1}u)], r < ${rowCount}u); }
${workgroupMain(groups)} {
  let r = row * ${WORKGROUP}u + local;
  let own = index_of(r);
  // Rows with a smaller index, with the same, and of those the earlier ones. Each component counts in its own part.
  var smaller = vec4<i32>();
  var equal = vec4<i32>();
  var earlier = 0;
  let ones = vec4<i32>(1);
  for (var first = 0u; first < ${rowCount}u; first += ${WORKGROUP}u) {
    workgroupBarrier();
    let other = first + 4u * local;
    if (local < ${WORKGROUP / 4}u) {
      tile[local] = vec4<i32>(index_of(other), index_of(other + 1u), index_of(other + 2u), index_of(other + 3u));
    }
    workgroupBarrier();
    if (first == row * ${WORKGROUP}u) {
      earlier = dot(equal, ones);
      for (var i = 0u; i < local; i++) { earlier += select(0, 1, tile[i / 4u][i % 4u] == own); }
    }
    for (var i = 0u; i < ${WORKGROUP / 4}u; i++) {
      smaller += vec4<i32>(tile[i] < vec4<i32>(own));
      equal += vec4<i32>(tile[i] == vec4<i32>(own));
    }
  }
  if (r >= ${rowCount}u) { return; }
  let start = dot(smaller, ones);
  ${order}[start + earlier] = i32(r);
  ${starts}[r] = start;
  // Only the first row of an index adds.
  ${counts}[r] = select(0, dot(equal, ones), earlier == 0);
}`,
  })
}

/** The first row of each index adds all rows with it to the table. */
function addRuns({ table, rows, indices }: ScatterOperands, runs: Runs): Dispatch {
  const [tableRows, rowCount] = [dim(table.shape, 0), indices.size]
  const { type: as, width } = vectorOf(widthOf(rows))
  const vectors = widthOf(rows) / width
  return dispatchOf({
    name: 'scatter-add-rows add',
    operands: { table: { of: table, as }, rows: { of: rows, as }, indices, ...runs },
    workgroups: gridOf(rowCount * vectors),
    code: ({ table, rows, indices, order, starts, counts }) => `
${linearMain(rowCount * vectors)} {
  let r = index / ${vectors}u;
  let column = index % ${vectors}u;
  let entry = u32(${indices}[r]);
  let count = ${counts}[r];
  if (count == 0 || entry >= ${tableRows}u) { return; }
  let start = ${starts}[r];
  var sum = ${table}[entry * ${vectors}u + column];
  for (var i = start; i < start + count; i++) { sum += ${rows}[u32(${order}[i]) * ${vectors}u + column]; }
  ${table}[entry * ${vectors}u + column] = sum;
}`,
  })
}
