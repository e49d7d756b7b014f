/**
 * Places in queues. The graph adds up a row of marks for each entry; here an invocation counts the equal entries before
 * its own, in blocks of a workgroup. Sums over the blocks of longer lines follow.
 */
import * as declared from '../../../../core/graph/kernels/queues.ts'
import {
  type Dispatch,
  gridOf,
  implement,
  linearMain,
  type Operand,
  rowsOf,
  scratch,
  WORKGROUP,
  workgroupMain,
} from '../contract.ts'
import { dispatchOf } from '../dispatch.ts'
import { scanDispatches } from '../order/scan.ts'
import { bytesOfCall } from '../vectors.ts'
import { axisView } from '../views.ts'

/** The operands of a call, as `lines` of entries. */
interface Lines {
  readonly queue: Operand
  readonly before: Operand
  readonly lines: number
  readonly length: number
  readonly queues: number
}

export const queuePositions = implement(declared.queuePositions, {
  lower({ attributes: { queues }, inputs: { queue }, outputs: { before, length: lengths } }) {
    const { outer: lines, length } = axisView(queue, -1)
    if (lines * length * queues === 0) return []
    const all = { queue, before, lines, length, queues }
    const blocks = Math.ceil(length / WORKGROUP)
    if (blocks === 1) return [positionsInBlocks(all, lengths)]
    const [own, earlier] = [scratch('int32', [lines, blocks, queues]), scratch('int32', [lines, blocks, queues])]
    const view = { outer: lines, length: blocks, inner: queues }
    return [
      positionsInBlocks(all, own),
      ...scanDispatches({ view, exclusive: true, reverse: false }, own, earlier),
      addEarlierBlocks(all, own, earlier, lengths),
    ]
  },
  work: (call) => ({ flops: 0, bytes: bytesOfCall(call) }),
})

/**
 * Writes the places in blocks, and how many entries of each queue a block has [L, blocks, N]. Several short lines share
 * a workgroup.
 */
function positionsInBlocks({ queue, before, lines, length, queues }: Lines, lengths: Operand): Dispatch {
  const blocks = Math.ceil(length / WORKGROUP)
  const block = Math.min(length, WORKGROUP)
  const ofGroup = Math.floor(WORKGROUP / block)
  const groups = Math.ceil((lines * blocks) / ofGroup)
  return dispatchOf({
    name: 'queue-positions',
    operands: { queue, before, lengths },
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

/** Adds the numbers of entries in earlier blocks to places, and adds up the entries of all blocks. */
function addEarlierBlocks(
  { queue, before, lines, length, queues }: Lines,
  own: Operand,
  earlier: Operand,
  lengths: Operand,
): Dispatch {
  const blocks = Math.ceil(length / WORKGROUP)
  const count = lines * Math.max(length, queues)
  return dispatchOf({
    name: 'queue-positions (blocks)',
    operands: { queue, own, earlier, before, lengths },
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
