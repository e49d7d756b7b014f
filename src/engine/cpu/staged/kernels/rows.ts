/** Kernels that pass over rows once: norms, dispatch and combine. */

import * as norms from '../../../../core/graph/kernels/products.ts'
import * as moves from '../../../../core/graph/kernels/rows.ts'
import { RuntimeError } from '../../../contract/runtime.ts'
import {
  implement,
  type KernelCall,
  type KernelMemory,
  type KernelTensor,
  type KernelThread,
  type PreparedCall,
} from '../contract.ts'
import { bytesOfCall, elementBytes } from './floats.ts'
import { bandsOf } from './matmul.ts'
import { memoryOf } from './reach.ts'

/** The offset of an absent operand. */
const ABSENT = 0xffffffff

/** Number of rows of a task, at most: a few hundred kilobytes. */
const TASK_ROWS = 128

export const widthOf = ({ shape }: KernelTensor): number => shape.at(-1) as number
/** Offset of an element in the memory of the program. */
export const offsetAt = (tensor: KernelTensor, element = 0): number => tensor.offset + elementBytes(tensor) * element
const firstDim = (tensor: KernelTensor): number => tensor.size / widthOf(tensor)
/** Offset of an element of an operand that may be absent. */
const offsetOr = (tensor: KernelTensor | undefined, element: number): number =>
  tensor ? offsetAt(tensor, element) : ABSENT

/** The work of a kernel that passes once over its operands. @param flops Operations for each element of `of`. */
const workOf = (call: KernelCall, of: KernelTensor, flops: number) => ({
  flops: flops * of.size,
  bytes: bytesOfCall(call),
})

/** A call whose tasks have nearly equal numbers of rows. */
function byRows(total: number, body: (from: number, rows: number) => void): PreparedCall {
  const bands = bandsOf(total, Math.ceil(total / TASK_ROWS), 1)
  return {
    tasks: bands.length,
    run: (task) => {
      const { from, length } = bands[task] as { from: number; length: number }
      body(from, length)
    },
  }
}

export const rmsNorm = implement(norms.rmsNorm, {
  provider: 'WASM',
  halves: { inputs: [], outputs: ['y'] },
  prepare({ inputs: { x, weight }, outputs: { y, inverse }, attributes: { epsilon } }, { functions }) {
    const width = widthOf(x)
    return byRows(firstDim(x), (from, rows) => {
      const target = [offsetAt(y, from * width), elementBytes(y), offsetAt(inverse, from)] as const
      functions.rmsNorm(offsetAt(x, from * width), weight.offset, ...target, rows, width, epsilon.float)
    })
  },
  work: (call) => workOf(call, call.inputs.x, 4),
})

export const rmsNormGradient = implement(norms.rmsNormGradient, {
  provider: 'WASM',
  prepare({ inputs: { dy, x, weight, inverse }, outputs: { dx, dWeight }, addends }, { functions }) {
    const width = widthOf(x)
    const rows = firstDim(x)
    const tasks = firstDim(dWeight)
    return {
      tasks,
      run(task) {
        const from = Math.floor((rows * task) / tasks)
        const count = Math.floor((rows * (task + 1)) / tasks) - from
        functions.rmsNormGradient(
          offsetAt(dy, from * width),
          offsetAt(x, from * width),
          weight.offset,
          offsetAt(inverse, from),
          offsetOr(addends.dx, from * width),
          offsetAt(dx, from * width),
          offsetAt(dWeight, task * width),
          count,
          width,
        )
      },
    }
  },
  work: (call) => workOf(call, call.inputs.dy, 10),
})

export const gatherRows = implement(moves.gatherRows, {
  provider: 'WASM',
  halves: { inputs: ['x'], outputs: ['y'] },
  anywhere: ['x'],
  prepare(call, thread) {
    const { x, index, weight } = call.inputs
    const { y } = call.outputs
    const { functions } = thread
    if (x.memory !== 0) return gatherFrom(memoryOf(thread, x), call, thread)
    const width = widthOf(x)
    const source = [x.offset, elementBytes(x), firstDim(x)] as const
    return byRows(index.size, (from, rows) => {
      const target = [offsetAt(y, from * width), elementBytes(y)] as const
      functions.gatherRows(...source, offsetAt(index, from), offsetOr(weight, from), ...target, rows, width)
    })
  },
  work: (call) => workOf(call, call.inputs.x, 1),
})

/** {@link gatherRows} of float32 rows in another memory. */
function gatherFrom(
  source: KernelMemory,
  { inputs: { x, index, weight }, outputs: { y } }: KernelCall<typeof moves.gatherRows>,
  { floats, integers }: KernelThread,
): PreparedCall {
  const width = widthOf(x)
  return byRows(index.size, (from, rows) => {
    for (let row = from; row < from + rows; row++) {
      const at = integers[index.offset / 4 + row] as number
      if (!(at >= 0 && at < firstDim(x)))
        throw new RuntimeError(`invalid row: ${at} (expected one of the ${firstDim(x)} of the table)`)
      const start = x.offset / 4 + at * width
      const to = offsetAt(y, row * width) / 4
      floats.set(source.floats.subarray(start, start + width), to)
      const factor = weight ? (floats[weight.offset / 4 + row] as number) : 1
      if (factor !== 1) for (let i = to; i < to + width; i++) floats[i] = factor * (floats[i] as number)
    }
  })
}

export const gatherGatedRows = implement(moves.gatherGatedRows, {
  provider: 'WASM',
  halves: { inputs: [], outputs: ['y'] },
  prepare({ inputs: { x, index, gate, choice, occupied }, outputs: { y } }, { functions }) {
    const width = widthOf(x)
    return byRows(index.size, (from, rows) => {
      functions.gatherGatedRows(
        x.offset,
        firstDim(x),
        offsetAt(index, from),
        gate.offset,
        gate.size,
        offsetAt(choice, from),
        offsetOr(occupied, from),
        offsetAt(y, from * width),
        elementBytes(y),
        rows,
        width,
      )
    })
  },
  work: (call) => workOf(call, call.inputs.x, 1),
})

export const combineRows = implement(moves.combineRows, {
  provider: 'WASM',
  halves: { inputs: ['rows'], outputs: [] },
  prepare({ inputs: { rows, slot, weight, kept }, outputs: { y }, addends }, { functions }) {
    const [width, choices] = [widthOf(rows), widthOf(slot)]
    return byRows(firstDim(slot), (from, tokens) => {
      functions.combineRows(
        rows.offset,
        elementBytes(rows),
        firstDim(rows),
        offsetAt(slot, from * choices),
        offsetOr(weight, from * choices),
        offsetOr(kept, from * choices),
        offsetOr(addends.y, from * width),
        offsetAt(y, from * width),
        tokens,
        choices,
        width,
      )
    })
  },
  work: (call) => workOf(call, call.inputs.rows, 2),
})

export const rowDots = implement(moves.rowDots, {
  provider: 'WASM',
  halves: { inputs: ['rows'], outputs: [] },
  prepare({ inputs: { dy, rows, slot, kept }, outputs: { dots } }, { functions }) {
    const [width, choices] = [widthOf(rows), widthOf(slot)]
    return byRows(firstDim(dy), (from, tokens) => {
      functions.rowDots(
        offsetAt(dy, from * width),
        rows.offset,
        elementBytes(rows),
        firstDim(rows),
        offsetAt(slot, from * choices),
        offsetOr(kept, from * choices),
        offsetAt(dots, from * choices),
        tokens,
        choices,
        width,
      )
    })
  },
  work: (call) => workOf(call, call.inputs.dy, 2),
})
