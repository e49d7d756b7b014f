/**
 * Softmax and cross-entropy of rows of logits, in place. A block of rows stays in the cache from the search
 * for its largest logits to its last probability.
 *
 * −log p[target] = max − log p[argmax] − logit[target], which stays exact if p[target] underflows.
 */
import { RuntimeError } from '../../contract.ts'
import type { Kernel, KernelTensor } from '../contract.ts'

/** Floats of a block: 1 MiB. */
const BLOCK_FLOATS = 2 ** 18

const blockRows = (columns: number): number => Math.max(1, Math.floor(BLOCK_FLOATS / columns))

/**
 * Inputs logits [T, V], targets [T] int32; outputs softmax − one-hot(target) [T, V], nats [T]. For a negative
 * target nothing is subtracted, and its nats are 0.
 */
export const crossEntropy: Kernel = {
  provider: 'oneDNN',
  scratch: ({ inputs: [logits] }) => 12 * blockRows((logits as KernelTensor).shape.at(-1) as number) + 128,

  prepare({ inputs, outputs }, { dnnl, functions, floats, integers, scratch }) {
    const [logits, targets] = inputs as [KernelTensor, KernelTensor]
    const [gradient, nats] = outputs as [KernelTensor, KernelTensor]
    const columns = logits.shape.at(-1) as number
    const total = targets.size
    const maxRows = blockRows(columns)
    const maxima = scratch.offset
    const argmaxima = maxima + Math.ceil(maxRows / 16) * 64
    const targetLogits = new Float32Array(maxRows)
    return {
      tasks: Math.ceil(total / maxRows),
      run(task) {
        const from = task * maxRows
        const rows = Math.min(maxRows, total - from)
        const start = 4 * from * columns
        functions.rowLargest(logits.offset + start, rows, columns, maxima, argmaxima)
        for (let r = 0; r < rows; r++) {
          const target = integers[targets.offset / 4 + from + r] as number
          if (target >= columns)
            throw new RuntimeError(
              `invalid target: ${target} (expected less than ${columns}, the size of the vocabulary)`,
            )
          targetLogits[r] =
            target < 0 ? Number.NaN : (floats[(logits.offset + start) / 4 + r * columns + target] as number)
        }
        dnnl.softmax(rows, columns).run(logits.address + start, gradient.address + start)
        for (let r = 0; r < rows; r++) {
          const argmax = integers[argmaxima / 4 + r] as number
          const p = floats[(gradient.offset + start) / 4 + r * columns + argmax] as number
          const target = integers[targets.offset / 4 + from + r] as number
          const at = nats.offset / 4 + from + r
          floats[at] = 0
          if (target < 0) continue
          floats[at] = (floats[maxima / 4 + r] as number) - Math.log(p) - (targetLogits[r] as number)
          const atTarget = (gradient.offset + start) / 4 + r * columns + target
          floats[atTarget] = (floats[atTarget] as number) - 1
        }
      },
    }
  },

  work: ({ inputs: [logits] }) => ({
    flops: 4 * (logits as KernelTensor).size,
    bytes: 8 * (logits as KernelTensor).size,
  }),
}
