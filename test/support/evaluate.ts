/** Compiles and runs a few tensors, for tests of the graph. */
import type { Port } from '../../src/core/graph/model.ts'
import { sizeOf } from '../../src/core/graph/shape.ts'
import type { Tensor } from '../../src/core/graph/tensor.ts'
import { type Buffer, type Runtime, typedArrays } from '../../src/engine/contract/runtime.ts'
import { createRuntime } from '../../src/engine/cpu/cpu-runtime.ts'

let shared: Promise<Runtime> | undefined

/** One runtime for all tests of a file. */
const testRuntime = (): Promise<Runtime> => (shared ??= createRuntime({ threads: 1 }))

const allocate = ({ dtype, shape }: Pick<Port, 'dtype' | 'shape'>): Buffer => new typedArrays[dtype](sizeOf(shape))

export interface Evaluator {
  /** Memory by name. Write the inputs, call `run`, and read the outputs. */
  readonly buffers: Record<string, Buffer>
  run(): void
  release(): void
}

/** Compiles outputs and binds new memory to all inputs and outputs. */
export async function evaluator(outputs: Record<string, Tensor>): Promise<Evaluator> {
  const executable = await (await testRuntime()).compile({ outputs })
  const { model } = executable
  const buffers = Object.fromEntries([...model.inputs, ...model.outputs].map((port) => [port.name, allocate(port)]))
  const binding = executable.bind(buffers)
  return {
    buffers,
    run: () => binding.runSync(),
    release: () => {
      binding.release()
      executable.release()
    },
  }
}

export interface Compiled {
  /** Maps inputs by name to outputs by name; inputs that the program does not have are ignored. */
  run(inputs?: Record<string, ArrayLike<number>>): Record<string, number[]>
  release(): void
}

/** Compiles outputs once, to run them on several inputs. */
export async function compiled(outputs: Record<string, Tensor>): Promise<Compiled> {
  const program = await evaluator(outputs)
  return {
    run: (inputs = {}) => {
      for (const [name, values] of Object.entries(inputs)) {
        const buffer = program.buffers[name]
        if (!buffer) continue
        if (buffer instanceof BigInt64Array) buffer.set(Array.from(values, BigInt))
        else buffer.set(values)
      }
      program.run()
      return Object.fromEntries(
        Object.keys(outputs).map((name) => [name, Array.from(program.buffers[name] as Buffer, Number)]),
      )
    },
    release: () => program.release(),
  }
}

/** Compiles outputs and runs them once. */
export async function evaluate(
  outputs: Record<string, Tensor>,
  inputs: Record<string, ArrayLike<number>> = {},
): Promise<Record<string, number[]>> {
  const program = await compiled(outputs)
  const results = program.run(inputs)
  program.release()
  return results
}
