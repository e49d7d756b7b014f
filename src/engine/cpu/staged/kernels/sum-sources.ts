/** Sums the gradients of source ranks, in the order of the tree. */
import { treeAdditions } from '../../../../core/graph/tree.ts'
import type { Kernel, KernelTensor } from '../contract.ts'
import { bandsOf } from './matmul.ts'

/** Floats of a task: they stay in the cache from one addition to the next. */
const BAND = 16384

/** Input parts [n, E, ...], or [E, ...] with n = 1, which are overwritten; output their sums over E. */
export const sumSources: Kernel = {
  provider: 'WASM',
  prepare(call, { functions, floats }) {
    const [parts] = call.inputs as [KernelTensor]
    const [sum] = call.outputs as [KernelTensor]
    const { experts, sources } = call.attributes as { experts: number; sources: number }
    const size = sum.size / experts
    const bands = bandsOf(size, Math.ceil(size / BAND), 16)
    const additions = treeAdditions(sources, 0)
    return {
      tasks: experts * bands.length,
      run(task) {
        const expert = Math.floor(task / bands.length)
        const { from, length } = bands[task % bands.length] as { from: number; length: number }
        const part = (source: number) => parts.offset + 4 * ((expert * sources + source) * size + from)
        for (const { into, from: other } of additions) functions.add(part(into), part(other), length)
        const start = part(0) / 4
        floats.copyWithin(sum.offset / 4 + expert * size + from, start, start + length)
      },
    }
  },
  work: ({ inputs: [parts] }) => ({ flops: (parts as KernelTensor).size, bytes: 8 * (parts as KernelTensor).size }),
}
