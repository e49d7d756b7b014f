/**
 * Places in queues: `queue-positions` of src/core/graph/ops/routing.ts. The graph adds up a row of marks for each entry; here
 * an invocation counts the equal entries before its own, in blocks of a workgroup. Sums over the blocks of longer lines
 * follow.
 */
import {
  type Dispatch,
  gridOf,
  type Kernel,
  linearMain,
  type Operand,
  rowsOf,
  WORKGROUP,
  workgroupMain,
} from '../../contract.ts'
import { dispatchOf } from '../dispatch.ts'
import { scanDispatches } from '../order/scan.ts'
import { bytesOf } from '../vectors.ts'
import { axisView } from '../views.ts'

interface Lines {
  readonly lines: number
  readonly length: number
  readonly queues: number
}

/** Inputs queue [L, A]; outputs before [L, A], length [L, N], all int32. L stands for any number of axes. */
export const queuePositions: Kernel = {
  lower({ inputs: [queue], outputs: [, lengths] }) {
    const { outer: lines, length } = axisView(queue as Operand, -1)
    const queues = (lengths as Operand).shape.at(-1) as number
    if (lines * length * queues === 0) return { dispatches: [] }
    const all = { lines, length, queues }
    const blocks = Math.ceil(length / WORKGROUP)
    if (blocks === 1) return { dispatches: [positionsInBlocks(all, { output: 1 })] }
    const scratch: { dtype: 'int32'; shape: readonly number[] }[] = []
    const allocate = (shape: readonly number[]) => ({ scratch: scratch.push({ dtype: 'int32', shape }) - 1 })
    const [own, earlier] = [allocate([lines, blocks, queues]), allocate([lines, blocks, queues])]
    const view = { outer: lines, length: blocks, inner: queues }
    const scan = { type: 'i32', view, exclusive: true, reverse: false } as const
    const dispatches = [
      positionsInBlocks(all, own),
      ...scanDispatches(scan, own, earlier, allocate),
      addEarlierBlocks(all, own, earlier),
    ]
    return { scratch, dispatches }
  },
  work: ({ inputs, outputs }) => ({ flops: 0, bytes: bytesOf(...inputs, ...outputs) }),
}

/** Places in blocks, and how many entries of each queue these have [L, blocks, N]. Several short lines share a workgroup. */
function positionsInBlocks(
  { lines, length, queues }: Lines,
  lengths: { output: number } | { scratch: number },
): Dispatch {
  const blocks = Math.ceil(length / WORKGROUP)
  const block = Math.min(length, WORKGROUP)
  const ofGroup = Math.floor(WORKGROUP / block)
  const groups = Math.ceil((lines * blocks) / ofGroup)
  return dispatchOf({
    name: 'queue-positions',
    operands: { queue: { input: 0 }, before: { output: 0 }, lengths },
    workgroups: rowsOf(groups),
    code: ({ queue, before, lengths }) => `
var<workgroup> entries: array<i32, ${WORKGROUP}>;
${workgroupMain(groups)} {
  let block = row * ${ofGroup}u + local / ${block}u;
  let place = local % ${block}u;
  let position = block % ${blocks}u * ${block}u + place;
  let at = block / ${blocks}u * ${length}u + position;
  let exists = local < ${ofGroup * block}u && block < ${lines * blocks}u && position < ${length}u;
  var own = -1;
  if (exists) { own = ${queue}[at]; }
  entries[local] = own;
  for (var i = local; i < ${ofGroup * queues}u; i += ${WORKGROUP}u) {
    let at = row * ${ofGroup * queues}u + i;
    if (at < ${lines * blocks * queues}u) { ${lengths}[at] = 0; }
  }
  storageBarrier();
  workgroupBarrier();
  if (!exists) { return; }
  let first = local - place;
  var count = 0;
  for (var i = first; i < local; i++) { count += select(0, 1, entries[i] == own); }
  ${before}[at] = count;
  // The last of a queue knows its length.
  var later = false;
  for (var i = local + 1u; i < first + ${block}u; i++) { later = later || entries[i] == own; }
  if (!later) { ${lengths}[block * ${queues}u + u32(own)] = count + 1; }
}`,
  })
}

/** Adds the entries of earlier blocks to places, and adds up those of all blocks. */
function addEarlierBlocks(
  { lines, length, queues }: Lines,
  own: { scratch: number },
  earlier: { scratch: number },
): Dispatch {
  const blocks = Math.ceil(length / WORKGROUP)
  const count = lines * Math.max(length, queues)
  return dispatchOf({
    name: 'queue-positions (blocks)',
    operands: { queue: { input: 0 }, own, earlier, before: { output: 0 }, lengths: { output: 1 } },
    workgroups: gridOf(count),
    code: ({ queue, own, earlier, before, lengths }) => `
${linearMain(count)} {
  if (index < ${lines * length}u) {
    let block = index / ${length}u * ${blocks}u + index % ${length}u / ${WORKGROUP}u;
    ${before}[index] += ${earlier}[block * ${queues}u + u32(${queue}[index])];
  }
  if (index < ${lines * queues}u) {
    let last = (index / ${queues}u * ${blocks}u + ${blocks - 1}u) * ${queues}u + index % ${queues}u;
    ${lengths}[index] = ${earlier}[last] + ${own}[last];
  }
}`,
  })
}
