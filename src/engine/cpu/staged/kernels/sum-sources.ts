/** Sums the gradients of source ranks, in the order of the tree. */
import * as declared from '../../../../core/graph/kernels/experts.ts'
import { treeAdditions } from '../../../../core/graph/tree.ts'
import { implement } from '../contract.ts'
import { bandsOf } from './matmul.ts'

/** Number of floats of a task, so few that they stay in the cache from one addition to the next. */
const BAND = 16384

/** The kernel overwrites the parts with partial sums. */
export const sumSources = implement(declared.sumSources, {
  provider: 'WASM',
  prepare({ inputs: { parts }, outputs: { sum } }, { functions, floats }) {
    const [experts = 0, sources = 0] = parts.shape
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
  work: ({ inputs: { parts } }) => ({ flops: parts.size, bytes: 8 * parts.size }),
})
