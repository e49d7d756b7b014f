/** A graph on memory of its own: write its inputs, run it, read its outputs. */
import { sizeOf } from '../../core/graph/shape.ts'
import type { Tensor } from '../../core/graph/tensor.ts'
import { type Buffer, type Runtime, typedArrays } from '../../engine/contract/runtime.ts'

export interface TracedProgram {
  /** Maps inputs by name to copies of the outputs by name; inputs that the graph does not use are ignored. */
  run(inputs: Readonly<Record<string, ArrayLike<number>>>): Promise<Record<string, Buffer>>
  release(): void
}

/** Outputs of a graph by name. */
export type Outputs = Readonly<Record<string, Tensor>>

export const numbers = (memory: Buffer | undefined): number[] => (memory ? Array.from(memory, Number) : [])

export async function compileProgram(runtime: Runtime, outputs: Outputs): Promise<TracedProgram> {
  const executable = await runtime.compile({ outputs })
  const { model } = executable
  const memory = Object.fromEntries(
    [...model.inputs, ...model.outputs].map(({ name, dtype, shape }) => [name, new typedArrays[dtype](sizeOf(shape))]),
  ) as Record<string, Buffer>
  const binding = executable.bind(memory)
  return {
    async run(inputs) {
      for (const { name } of model.inputs) {
        const values = inputs[name]
        if (values) (memory[name] as Float64Array).set(values)
      }
      await binding.run()
      return Object.fromEntries(Object.keys(outputs).map((name) => [name, (memory[name] as Float64Array).slice()]))
    },
    release() {
      binding.release()
      executable.release()
    },
  }
}
