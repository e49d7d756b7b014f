/**
 * Softmax and cross-entropy of rows of logits, in place: a block of rows is in the cache from the search
 * of its largest logit to its last probability.
 *
 * −log p[target] = largest − log p[largest] − logit[target], which stays exact where p[target] underflows.
 */
import { RuntimeError } from '../../contract.ts'
import type { Kernel, KernelTensor } from '../contract.ts'

/** Floats of a block: 1 MiB. */
const BLOCK_FLOATS = 2 ** 18

const blockRows = (columns: number): number => Math.max(1, Math.floor(BLOCK_FLOATS / columns))

/**
 * Inputs logits [T, V], targets [T] int32; outputs softmax − one-hot(target) [T, V], nats [T]. A negative target is not
 * counted: no one-hot, and 0 nats.
 */
export const crossEntropy: Kernel = {
  provider: 'oneDNN',
  scratch: ({ inputs: [logits] }) => 12 * blockRows((logits as KernelTensor).shape.at(-1) as number) + 128,

  prepare({ inputs, outputs }, { dnnl, rows: functions, floats, integers, scratch }) {
    const [logits, targets] = inputs as [KernelTensor, KernelTensor]
    const [gradient, nats] = outputs as [KernelTensor, KernelTensor]
    const columns = logits.shape.at(-1) as number
    const total = targets.size
    const most = blockRows(columns)
    const largest = scratch.offset
    const place = largest + Math.ceil(most / 16) * 64
    const chosen = new Float32Array(most)
    return {
      tasks: Math.ceil(total / most),
      run(task) {
        const from = task * most
        const rows = Math.min(most, total - from)
        const start = 4 * from * columns
        functions.rowLargest?.(logits.offset + start, rows, columns, largest, place)
        for (let r = 0; r < rows; r++) {
          const target = integers[targets.offset / 4 + from + r] as number
          if (target >= columns)
            throw new RuntimeError(
              `invalid target: ${target} (expected less than ${columns}, the size of the vocabulary)`,
            )
          chosen[r] = target < 0 ? Number.NaN : (floats[(logits.offset + start) / 4 + r * columns + target] as number)
        }
        dnnl.softmax(rows, columns).run(logits.address + start, gradient.address + start)
        for (let r = 0; r < rows; r++) {
          const top = integers[place / 4 + r] as number
          const p = floats[(gradient.offset + start) / 4 + r * columns + top] as number
          const target = integers[targets.offset / 4 + from + r] as number
          const at = nats.offset / 4 + from + r
          floats[at] = 0
          if (target < 0) continue
          floats[at] = (floats[largest / 4 + r] as number) - Math.log(p) - (chosen[r] as number)
          const one = (gradient.offset + start) / 4 + r * columns + target
          floats[one] = (floats[one] as number) - 1
        }
      },
    }
  },

  work: ({ inputs: [logits] }) => ({
    flops: 4 * (logits as KernelTensor).size,
    bytes: 8 * (logits as KernelTensor).size,
  }),
}
