/** Running sums: ONNX `CumSum`. */
import { type Dispatch, implement, type Operand, rowsOf, scratch, WORKGROUP, workgroupMain } from '../contract.ts'
import { dispatchOf } from '../dispatch.ts'
import { type AxisView, axisView, elementOf, powerOfTwo } from '../views.ts'

/** Number of elements of a line that an invocation adds up. */
const RUN = 8

export interface Scan {
  readonly view: AxisView
  readonly exclusive: boolean
  readonly reverse: boolean
}

/**
 * A workgroup has a tile: blocks of `lanes`·RUN elements of `columns` lines, which are neighbours in memory if the
 * elements of a line are not. Short lines have few lanes, so that a workgroup has many short lines.
 */
function tileOf({ length, inner }: AxisView) {
  const lanes = Math.min(WORKGROUP / Math.min(32, powerOfTwo(inner)), powerOfTwo(Math.ceil(length / RUN)))
  return { lanes, columns: WORKGROUP / lanes, rows: lanes * RUN, blocks: Math.ceil(length / (lanes * RUN)) }
}

/**
 * Running sums along an axis (attribute `axis`; the graph has it as the constant second input), with `exclusive` and
 * `reverse` of ONNX. Long lines are cut into blocks: the kernel computes the sums of blocks, then the running sums of
 * these sums in the same way, then running sums in the blocks, which begin with the running sums of the blocks
 * (Blelloch 1990).
 */
export const cumulativeSum = implement(
  { name: 'CumSum', inputs: ['x'], outputs: ['y'] },
  {
    lower({ attributes: { axis, exclusive, reverse }, inputs: { x }, outputs: { y } }) {
      if (typeof axis !== 'number') throw new Error('internal: CumSum without the attribute axis')
      if (x.size === 0) return []
      return scanDispatches({ view: axisView(x, axis), exclusive: exclusive === 1, reverse: reverse === 1 }, x, y)
    },
    work: ({ inputs: { x } }) => ({ flops: x.size, bytes: 8 * x.size }),
  },
)

/** Dispatches that write the running sums of an array to another array. */
export function scanDispatches(scan: Scan, x: Operand, y: Operand): Dispatch[] {
  const { outer, inner } = scan.view
  const { blocks } = tileOf(scan.view)
  if (blocks === 1) return [scanTile(scan, 'scan', x, y)]
  const view = { outer, length: blocks, inner }
  const [sums, before] = [scratch(x.dtype, [outer, blocks, inner]), scratch(x.dtype, [outer, blocks, inner])]
  return [
    scanTile(scan, 'sum', x, sums),
    ...scanDispatches({ view, exclusive: true, reverse: false }, sums, before),
    scanTile(scan, 'scan', x, y, before),
  ]
}

/** A pass over all tiles: `sum` gives the sums of blocks, `scan` running sums. @param before Running sums of the blocks. */
function scanTile(
  { view, exclusive, reverse }: Scan,
  kind: 'sum' | 'scan',
  x: Operand,
  y: Operand,
  before?: Operand,
): Dispatch {
  const type = elementOf(x)
  const { outer, length, inner } = view
  const { lanes, columns, rows, blocks } = tileOf(view)
  const lines = outer * inner
  const groups = Math.ceil(lines / columns) * blocks
  /** Visits the tile in the order of memory: along lines, or across them. */
  const forTile = (body: string) => `
  for (var i = local; i < ${rows * columns}u; i += ${WORKGROUP}u) {
    let r = ${inner === 1 ? `i % ${rows}u` : `i / ${columns}u`};
    let c = ${inner === 1 ? `i / ${rows}u` : `i % ${columns}u`};
    let line = first_line + c;
    let position = block * ${rows}u + r;
    let exists = line < ${lines}u && position < ${length}u;
    ${body}
  }`
  const blockSum = `(line / ${inner}u * ${blocks}u + block) * ${inner}u + line % ${inner}u`
  const runningSum = (to: string, before: string) => `
  var running = ${type}(0);
  if (lane > 0u) { running = totals[local - ${columns}u]; }
  ${before ? `if (line < ${lines}u) { running += ${before}[${blockSum}]; }` : ''}
  for (var i = 0u; i < ${RUN}u; i++) {
    let at = cell(lane * ${RUN}u + i, column);
    ${exclusive ? 'let value = tile[at]; tile[at] = running; running += value;' : 'running += tile[at]; tile[at] = running;'}
  }
  workgroupBarrier();
  ${forTile(`if (exists) { ${to}[element(line, position)] = tile[cell(r, c)]; }`)}`
  const lastTotal = (to: string) => `
  if (lane == ${lanes - 1}u && line < ${lines}u) { ${to}[${blockSum}] = totals[local]; }`

  return dispatchOf({
    name: `CumSum (${kind})`,
    operands: { x, y, before },
    workgroups: rowsOf(groups),
    code: ({ x, y, before }) => `
// One word of padding after 32: invocations that read their runs meet in no bank.
var<workgroup> tile: array<${type}, ${rows * columns + (rows * columns) / 32}>;
var<workgroup> totals: array<${type}, ${WORKGROUP}>;

fn cell(r: u32, c: u32) -> u32 {
  let at = r * ${columns}u + c;
  return at + at / 32u;
}

fn element(line: u32, position: u32) -> u32 {
  let at = ${reverse ? `${length - 1}u - position` : 'position'};
  return (line / ${inner}u * ${length}u + at) * ${inner}u + line % ${inner}u;
}

${workgroupMain(groups)} {
  let block = row % ${blocks}u;
  let first_line = row / ${blocks}u * ${columns}u;
  ${forTile(`
    var value = ${type}(0);
    if (exists) { value = ${x}[element(line, position)]; }
    tile[cell(r, c)] = value;`)}
  workgroupBarrier();

  let lane = local / ${columns}u;
  let column = local % ${columns}u;
  let line = first_line + column;
  var total = ${type}(0);
  for (var i = 0u; i < ${RUN}u; i++) { total += tile[cell(lane * ${RUN}u + i, column)]; }
  totals[local] = total;
  // Sums of the runs so far (Hillis and Steele 1986).
  for (var step = 1u; step < ${lanes}u; step *= 2u) {
    workgroupBarrier();
    var others = ${type}(0);
    if (lane >= step) { others = totals[local - step * ${columns}u]; }
    workgroupBarrier();
    totals[local] += others;
  }
  workgroupBarrier();
  ${kind === 'sum' ? lastTotal(y) : runningSum(y, before)}
}`,
  })
}
