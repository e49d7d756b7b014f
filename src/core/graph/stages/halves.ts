/**
 * Decides which values are stored as bfloat16, the upper half of a float32: a value whose kernel can write bfloat16,
 * and whose readers are all kernels that can read it. So a factor of several products is rounded once, where it is
 * computed, and takes half the memory and half the traffic. Ports, sums with an addend, and values that an ONNX model
 * or another kernel reads stay float32. So the residual stream, statistics of norms, choices of experts, losses, and
 * gradients of parameters are float32.
 */
import type { Halves } from './contract.ts'
import { isKernel, isUse, type Step, type Values } from './steps.ts'

/** The operands of a kernel that may be bfloat16. */
export type HalvesOf = (kernel: string) => Halves | undefined

/**
 * Changes the types of values to bfloat16 where kernels allow it.
 * @param ports Values bound to ports.
 */
export function storeHalves(steps: readonly Step[], values: Values, ports: ReadonlySet<number>, of: HalvesOf): void {
  const halves = new Set<number>()
  const listed = (step: Step): Halves => (isKernel(step) && of(step.node.type)) || { inputs: [], outputs: [] }
  for (const step of steps)
    for (const name of listed(step).outputs) {
      const i = step.node.kernel?.outputs.indexOf(name) ?? -1
      const value = step.outputs[i]?.value
      if (value !== undefined && !step.added?.includes(i) && !ports.has(value)) halves.add(value)
    }
  for (const step of steps) {
    const { inputs } = listed(step)
    // An addend comes after the named inputs and has no name, so only a kernel that lists `all` inputs reads it as
    // bfloat16.
    const names = step.node.kernel?.inputs ?? []
    for (const [i, use] of step.inputs.entries())
      if (isUse(use) && inputs !== 'all' && !inputs.includes(names[i] ?? '')) halves.delete(use.value)
  }
  const moves = steps.filter((step) => listed(step).same)
  for (let before = -1; before !== halves.size; ) {
    before = halves.size
    for (const { inputs, outputs } of moves) {
      const ends = [inputs[0], outputs[0]].map((use) => (use && isUse(use) ? use.value : -1))
      if (!ends.every((value) => halves.has(value))) for (const value of ends) halves.delete(value)
    }
  }
  for (const value of halves) values.storeAs(value, 'bfloat16')
}
