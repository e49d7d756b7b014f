/** Additions in place: of ranges, and of rows to rows of a table. */
import { type Dispatch, gridOf, type Lowered, linearMain, rowsOf, WORKGROUP, workgroupMain } from '../../contract.ts'
import { dispatchOf } from '../dispatch.ts'
import { vectorOf } from '../vectors.ts'

/** to ← to + from. Operands: to, from [count]. */
export function addDispatch(count: number): Dispatch {
  const { type: as, width } = vectorOf(count)
  return dispatchOf({
    name: 'add',
    operands: { to: { input: 0, as }, from: { input: 1, as } },
    workgroups: gridOf(count / width),
    code: ({ to, from }) => `${linearMain(`arrayLength(&${to})`)} { ${to}[index] += ${from}[index]; }`,
  })
}

export interface ScatterShape {
  readonly tableRows: number
  readonly rowCount: number
  readonly width: number
}

/**
 * table[indices[r]] += rows[r], in the order of r, with the same bits as one addition after the other. Operands: table
 * [tableRows, width], rows [rowCount, width], indices [rowCount] int32. Rows whose index is outside the table are
 * skipped.
 *
 * Rows are sorted by index, and by r among equal ones, with the place of each found by counting: rowCount² comparisons
 * of integers, which are cheap for the up to 65,536 tokens of a batch. Then the first row of each index adds them all.
 */
export function scatterAddRowsDispatches({ tableRows, rowCount, width }: ScatterShape): Lowered {
  if (rowCount * width === 0) return { dispatches: [] }
  const integers = { dtype: 'int32', shape: [rowCount] } as const
  return {
    // Rows in order; then by row: the first place of its index in this order, and how many there are.
    scratch: [integers, integers, integers],
    dispatches: [sortRows(rowCount), addRuns({ tableRows, rowCount, width })],
  }
}

/** Each invocation compares the index of its row with all others, which pass through the memory of the workgroup. */
function sortRows(rowCount: number): Dispatch {
  const groups = Math.ceil(rowCount / WORKGROUP)
  return dispatchOf({
    name: 'scatter-add-rows sort',
    operands: {
      indices: { input: 2 },
      order: { scratch: 0 },
      starts: { scratch: 1 },
      counts: { scratch: 2 },
    },
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
function addRuns({ tableRows, rowCount, width }: ScatterShape): Dispatch {
  const { type: as, width: vector } = vectorOf(width)
  const vectors = width / vector
  return dispatchOf({
    name: 'scatter-add-rows add',
    operands: {
      table: { input: 0, as },
      rows: { input: 1, as },
      indices: { input: 2 },
      order: { scratch: 0 },
      starts: { scratch: 1 },
      counts: { scratch: 2 },
    },
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
