/** Kernels that pass over rows once: norms, dispatch and combine. */

import type { Halves } from '../../../../core/graph/stages/contract.ts'
import type { OpFunctions } from '../../wasm/module.ts'
import type { Kernel, KernelCall, KernelTensor } from '../contract.ts'
import { elementBytes } from './floats.ts'
import { bandsOf } from './matmul.ts'

/** The offset of an absent operand. */
const ABSENT = 0xffffffff

/** Rows of a task: a few hundred kilobytes. */
const TASK_ROWS = 128

type Tensors = readonly [KernelTensor, KernelTensor, KernelTensor, KernelTensor, KernelTensor, KernelTensor]
const inputsOf = (call: KernelCall) => call.inputs as unknown as Tensors
const outputsOf = (call: KernelCall) => call.outputs as unknown as Tensors
export const widthOf = ({ shape }: KernelTensor): number => shape.at(-1) as number
/** Offset of an element in the memory of the program. */
export const offsetAt = (tensor: KernelTensor, element = 0): number => tensor.offset + elementBytes(tensor) * element
const addendOf = ({ inputs, added }: KernelCall): KernelTensor | undefined =>
  added.length > 0 ? inputs.at(-1) : undefined
const bytesOf = ({ inputs, outputs }: KernelCall): number =>
  [...inputs, ...outputs].reduce((total, tensor) => total + elementBytes(tensor) * tensor.size, 0)

/** A kernel whose tasks have near-equal numbers of rows. */
function byRows(
  rowsOf: (call: KernelCall) => number,
  body: (call: KernelCall, functions: OpFunctions, from: number, rows: number) => void,
  flopsOfElement: number,
  halves: Halves,
): Kernel {
  return {
    provider: 'WASM',
    halves,
    prepare(call, { functions }) {
      const total = rowsOf(call)
      const bands = bandsOf(total, Math.ceil(total / TASK_ROWS), 1)
      return {
        tasks: bands.length,
        run: (task) => {
          const { from, length } = bands[task] as { from: number; length: number }
          body(call, functions, from, length)
        },
      }
    },
    work: (call) => ({ flops: flopsOfElement * inputsOf(call)[0].size, bytes: bytesOf(call) }),
  }
}

const firstDim = (tensor: KernelTensor): number => tensor.size / widthOf(tensor)

/** Inputs x [T, D], weight [D]; outputs y [T, D], 1/rms [T, 1]. */
export const rmsNorm = byRows(
  (call) => firstDim(inputsOf(call)[0]),
  (call, functions, from, rows) => {
    const [x, weight] = inputsOf(call)
    const [y, inverse] = outputsOf(call)
    const width = widthOf(x)
    const { epsilon } = call.attributes as { epsilon: { float: number } }
    const target = [offsetAt(y, from * width), elementBytes(y), offsetAt(inverse, from)] as const
    functions.rmsNorm(offsetAt(x, from * width), weight.offset, ...target, rows, width, epsilon.float)
  },
  4,
  { inputs: [], outputs: [0] },
)

/** Inputs dy [T, D], x [T, D], weight [D], 1/rms [T, 1]; outputs dx [T, D], parts of dweight [P, D]. */
export const rmsNormGradient: Kernel = {
  provider: 'WASM',
  prepare(call, { functions }) {
    const [dy, x, weight, inverse] = inputsOf(call)
    const [dx, dWeight] = outputsOf(call)
    const addend = addendOf(call)
    const width = widthOf(x)
    const rows = firstDim(x)
    const tasks = firstDim(dWeight)
    return {
      tasks,
      run(task) {
        const from = Math.floor((rows * task) / tasks)
        const count = Math.floor((rows * (task + 1)) / tasks) - from
        const part = (tensor: KernelTensor) => offsetAt(tensor, from * width)
        functions.rmsNormGradient(
          part(dy),
          part(x),
          weight.offset,
          offsetAt(inverse, from),
          addend ? part(addend) : ABSENT,
          part(dx),
          offsetAt(dWeight, task * width),
          count,
          width,
        )
      },
    }
  },
  work: (call) => ({ flops: 10 * inputsOf(call)[0].size, bytes: bytesOf(call) }),
}

/** Inputs x [T, D], index [R] int32 (, weight [R]); output weight · x[index] [R, D]. */
export const gatherRows = byRows(
  (call) => inputsOf(call)[1].size,
  (call, functions, from, rows) => {
    const [x, index, weight] = call.inputs as [KernelTensor, KernelTensor, KernelTensor?]
    const [out] = outputsOf(call)
    const width = widthOf(x)
    const factor = weight ? offsetAt(weight, from) : ABSENT
    const source = [x.offset, elementBytes(x), firstDim(x)] as const
    const target = [offsetAt(out, from * width), elementBytes(out)] as const
    functions.gatherRows(...source, offsetAt(index, from), factor, ...target, rows, width)
  },
  1,
  { inputs: [0], outputs: [0] },
)

/**
 * Inputs x [T, D], index [R] int32, gate [T, K], choice [R] int32 (, occupied [R]); output
 * gate[choice] · occupied · x[index] [R, D].
 */
export const gatherGatedRows = byRows(
  (call) => inputsOf(call)[1].size,
  (call, functions, from, rows) => {
    const [x, index, gate, choice, occupied] = call.inputs as [
      KernelTensor,
      KernelTensor,
      KernelTensor,
      KernelTensor,
      KernelTensor?,
    ]
    const [out] = outputsOf(call)
    const width = widthOf(x)
    functions.gatherGatedRows(
      x.offset,
      firstDim(x),
      offsetAt(index, from),
      gate.offset,
      gate.size,
      offsetAt(choice, from),
      occupied ? offsetAt(occupied, from) : ABSENT,
      offsetAt(out, from * width),
      elementBytes(out),
      rows,
      width,
    )
  },
  1,
  { inputs: [], outputs: [0] },
)

/**
 * Inputs rows [R, D], slot [T, K] int32 (, weight [T, K] (, kept [T, K])); output Σ_k weight · kept · rows[slot] [T, D].
 * The attribute `weighted` is the number of inputs after the slots.
 */
export const combineRows = byRows(
  (call) => inputsOf(call)[1].shape[0] as number,
  (call, functions, from, tokens) => {
    const [rows, slot, maybeWeight, maybeKept] = inputsOf(call)
    const weighted = call.attributes.weighted as number
    const weight = weighted > 0 ? maybeWeight : undefined
    const kept = weighted > 1 ? maybeKept : undefined
    const addend = addendOf(call)
    const [out] = outputsOf(call)
    const [width, choices] = [widthOf(rows), widthOf(slot)]
    functions.combineRows(
      rows.offset,
      elementBytes(rows),
      firstDim(rows),
      offsetAt(slot, from * choices),
      weight ? offsetAt(weight, from * choices) : ABSENT,
      kept ? offsetAt(kept, from * choices) : ABSENT,
      addend ? offsetAt(addend, from * width) : ABSENT,
      offsetAt(out, from * width),
      tokens,
      choices,
      width,
    )
  },
  2,
  { inputs: [0], outputs: [] },
)

/** Inputs dy [T, D], rows [R, D], slot [T, K] int32 (, kept [T, K]); output dy · rows[slot] [T, K]. */
export const rowDots = byRows(
  (call) => firstDim(inputsOf(call)[0]),
  (call, functions, from, tokens) => {
    const [dy, rows, slot, kept] = call.inputs as [KernelTensor, KernelTensor, KernelTensor, KernelTensor?]
    const [out] = outputsOf(call)
    const [width, choices] = [widthOf(rows), widthOf(slot)]
    functions.rowDots(
      offsetAt(dy, from * width),
      rows.offset,
      elementBytes(rows),
      firstDim(rows),
      offsetAt(slot, from * choices),
      kept ? offsetAt(kept, from * choices) : ABSENT,
      offsetAt(out, from * choices),
      tokens,
      choices,
      width,
    )
  },
  2,
  { inputs: [1], outputs: [] },
)
