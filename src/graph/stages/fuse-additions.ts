/** Additions that kernels make on the way. */
import { sameShape } from '../shape.ts'
import type { ValueUse } from './contract.ts'
import { isUse, type Step, usesOf } from './steps.ts'

/** x + kernel(...) becomes kernel(..., x), where the sum is all that the result is used for. */
export function fuseAdditions(steps: readonly Step[], bound: ReadonlySet<number>): Step[] {
  const readers = new Map<number, number>()
  for (const step of steps) for (const { value } of usesOf(step)) readers.set(value, (readers.get(value) ?? 0) + 1)
  const madeBy = new Map<number, number>()
  const result: (Step | null)[] = [...steps]
  steps.forEach(({ outputs }, i) => {
    for (const { value } of outputs) madeBy.set(value, i)
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
      const at = madeBy.get(kernelUse.value)
      const kernel = at === undefined ? null : result[at]
      if (at === undefined || !kernel?.node.kernel) continue
      const { addsTo = [], local } = kernel.node.kernel
      const { added = [] } = kernel
      const output = kernel.outputs.findIndex(({ value }) => value === kernelUse.value)
      const ready = (madeBy.get(other.value) ?? -1) < at
      const onlyHere = readers.get(kernelUse.value) === 1 && !bound.has(kernelUse.value)
      if (!addsTo.includes(output) || added.includes(output) || !ready || !onlyHere) continue
      const inPorts = bound.has(sum.value) || bound.has(other.value) || !madeBy.has(other.value)
      if (local && inPorts) continue
      const { shape } = kernel.outputs[output] as ValueUse
      result[at] = {
        ...kernel,
        inputs: [...kernel.inputs, { value: other.value, shape }],
        outputs: kernel.outputs.with(output, { value: sum.value, shape }),
        added: [...added, output],
      }
      result[i] = null
      madeBy.set(sum.value, at)
      break
    }
  }
  return result.filter((step) => step !== null)
}
