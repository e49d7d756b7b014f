/** Fuses additions into kernels. */
import { sameShape } from '../shape.ts'
import type { ValueUse } from './contract.ts'
import { isUse, type Step, usesOf } from './steps.ts'

/** Rewrites x + kernel(...) as kernel(..., x) if nothing else reads the result of the kernel. */
export function fuseAdditions(steps: readonly Step[], bound: ReadonlySet<number>): Step[] {
  const readerCount = new Map<number, number>()
  for (const step of steps)
    for (const { value } of usesOf(step)) readerCount.set(value, (readerCount.get(value) ?? 0) + 1)
  const producer = new Map<number, number>()
  const result: (Step | null)[] = [...steps]
  steps.forEach(({ outputs }, i) => {
    for (const { value } of outputs) producer.set(value, i)
  })
  for (const [i, step] of steps.entries()) {
    const [a, b] = step.inputs
    const [sum] = step.outputs
    if (step.node.type !== 'Add' || step.node.domain !== '' || !sum || !a || !b || !isUse(a) || !isUse(b)) continue
    if (!sameShape(a.shape, b.shape)) continue
    for (const [kernelUse, other] of [
      [b, a],
      [a, b],
    ] as const) {
      const at = producer.get(kernelUse.value)
      const kernel = at === undefined ? null : result[at]
      if (at === undefined || !kernel?.node.kernel) continue
      const { addsTo, local } = kernel.node.kernel
      const { added = [] } = kernel
      const output = kernel.outputs.findIndex(({ value }) => value === kernelUse.value)
      const ready = (producer.get(other.value) ?? -1) < at
      const onlyReader = readerCount.get(kernelUse.value) === 1 && !bound.has(kernelUse.value)
      if (!addsTo.includes(output) || added.includes(output) || !ready || !onlyReader) continue
      const usesPort = bound.has(sum.value) || bound.has(other.value) || !producer.has(other.value)
      if (local && usesPort) continue
      const { shape } = kernel.outputs[output] as ValueUse
      result[at] = {
        ...kernel,
        inputs: [...kernel.inputs, { value: other.value, shape }],
        outputs: kernel.outputs.with(output, { value: sum.value, shape }),
        added: [...added, output],
      }
      result[i] = null
      producer.set(sum.value, at)
      break
    }
  }
  return result.filter((step) => step !== null)
}
