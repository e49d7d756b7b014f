/**
 * The first entries of rows in order, for rows of any length: blocks are sorted in workgroup memory (`sort-block.ts`),
 * then runs in scratch memory continue the same network, one dispatch for each stride that exceeds a block.
 */
import { type Dispatch, gridOf, linearMain, type Operand, rowsOf, WORKGROUP, workgroupMain } from '../contract.ts'
import { dispatchOf } from '../dispatch.ts'
import { blockSort, blocksOf, compareIn, network, type Sorted, sortPlan } from './sort-block.ts'

/**
 * Sorts rows in scratch memory: keys and positions, int32 [rows, {@link SortPlan.padded}] each. The first `keep`
 * entries of a row are then in order.
 */
export function sortInScratch(sorted: Sorted, name: string, keys: Operand, positions: Operand): Dispatch[] {
  const { padded, run, block } = sortPlan(sorted)
  const chunk = Math.min(run, block)
  const runs: Runs = { name, entries: sorted.rows * padded, chunk, keys, positions }
  const sortBlocks = dispatchOf({
    name,
    operands: { bits: { of: sorted.bits, as: 'u32' }, ...entriesOf(runs) },
    workgroups: blocksOf(sorted),
    code: ({ bits, k, p }) =>
      blockSort(
        sorted,
        bits,
        `
  for (var i = local; i < ${chunk}u; i += ${WORKGROUP}u) {
    ${k}[line * ${padded}u + first + i] = keys[i];
    ${p}[line * ${padded}u + first + i] = positions[i];
  }`,
      ),
  })
  const dispatches: Dispatch[] = [sortBlocks]
  for (let size = block; size < run; size *= 2) dispatches.push(flip(runs, size, size), ...mergeRuns(runs, size, size))
  for (let spacing = Math.max(run, block); spacing < padded; spacing *= 2)
    dispatches.push(flip(runs, run, spacing), ...mergeRuns(runs, run, 2 * spacing))
  return dispatches
}

/** The runs of all rows, in scratch memory; a row is a whole number of runs. */
interface Runs {
  readonly name: string
  readonly entries: number
  /** Number of entries that a workgroup merges in its memory. */
  readonly chunk: number
  readonly keys: Operand
  readonly positions: Operand
}

const entriesOf = ({ keys, positions }: Runs) =>
  ({ k: { of: keys, as: 'u32' }, p: { of: positions, as: 'u32' } }) as const

/** @param places WGSL that sets `low` and `high` for a `pair` */
const compare = (runs: Runs, what: string, pairs: number, places: string): Dispatch =>
  dispatchOf({
    name: `${runs.name} (${what})`,
    operands: entriesOf(runs),
    workgroups: gridOf(pairs),
    code: ({ k, p }) => `
${compareIn(k, p)}
${linearMain(pairs)} {
  let pair = index;
  ${places}
  compare(low, high);
}`,
  })

/** Compares every second run of this size, mirrored, with the run after it. */
const flip = (runs: Runs, size: number, spacing: number): Dispatch =>
  compare(
    runs,
    'flip',
    ((runs.entries / 2) * size) / spacing,
    `let offset = pair % ${size}u;
  let first = pair / ${size}u * ${2 * spacing}u;
  let low = first + offset;
  let high = first + ${spacing + size - 1}u - offset;`,
  )

/** Sorts bitonic runs of this size. */
function mergeRuns(runs: Runs, size: number, spacing: number): Dispatch[] {
  const dispatches: Dispatch[] = []
  for (let stride = size / 2; stride >= runs.chunk; stride /= 2) dispatches.push(exchange(runs, stride, size, spacing))
  return [...dispatches, mergeChunks(runs, size, spacing)]
}

/** Compares entries at this stride, in the runs of this size at this spacing. */
const exchange = (runs: Runs, stride: number, size: number, spacing: number): Dispatch =>
  compare(
    runs,
    'exchange',
    ((runs.entries / 2) * size) / spacing,
    `let entry = pair / ${stride}u * ${2 * stride}u + pair % ${stride}u;
  let low = entry / ${size}u * ${spacing}u + entry % ${size}u;
  let high = low + ${stride}u;`,
  )

/** Merges runs at the strides below a chunk. */
function mergeChunks(runs: Runs, size: number, spacing: number): Dispatch {
  const { name, entries, chunk } = runs
  const chunks = ((entries / spacing) * size) / chunk
  return dispatchOf({
    name: `${name} (merge)`,
    operands: entriesOf(runs),
    workgroups: rowsOf(chunks),
    code: ({ k, p }) => `
${network({ block: chunk, run: chunk })}
${workgroupMain(chunks)} {
  let first = row / ${size / chunk}u * ${spacing}u + row % ${size / chunk}u * ${chunk}u;
  for (var i = local; i < ${chunk}u; i += ${WORKGROUP}u) {
    keys[i] = ${k}[first + i];
    positions[i] = ${p}[first + i];
  }
  merge_runs(local, ${chunk}u);
  workgroupBarrier();
  for (var i = local; i < ${chunk}u; i += ${WORKGROUP}u) {
    ${k}[first + i] = keys[i];
    ${p}[first + i] = positions[i];
  }
}`,
  })
}
