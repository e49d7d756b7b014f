/** Kernels that work in place, for `runKernel`, which gives each operand memory of its own. */
import type { Kernel, Lowered } from '../contract.ts'

/** Dispatches over operands of a caller: the outputs of a call without inputs, which gives their data before it. */
export const overOutputs = (lowered: Lowered): Kernel => ({
  lower: () => ({
    ...lowered,
    dispatches: lowered.dispatches.map((dispatch) => ({
      ...dispatch,
      operands: dispatch.operands.map((use) => {
        if (!('input' in use)) return use
        const { input, ...rest } = use
        return { output: input, ...rest }
      }),
    })),
  }),
})

/** The kernel with an input in the memory of an output. The call gives the same data for both. */
export const overwriting = (kernel: Kernel, input: number, output: number): Kernel => ({
  lower(call, features) {
    const lowered = kernel.lower(call, features)
    const dispatches = lowered.dispatches.map((dispatch) => {
      const isInput = dispatch.operands.map((use) => 'input' in use && use.input === input)
      const operands = dispatch.operands.filter((_, i) => !isInput[i])
      const overwritten = operands.findIndex((use) => 'output' in use && use.output === output)
      const code = (names: readonly string[]) => {
        const given = names.values()
        return dispatch.code(isInput.map((is) => (is ? names[overwritten] : given.next().value) as string))
      }
      return { ...dispatch, operands, code }
    })
    return { ...lowered, dispatches }
  },
})
