/**
 * Tensors, operations and gradients: the parts that the graphs of Choir are made of, for programs of your own.
 *
 * @example The gradient of the mean of x², on memory that you own.
 * ```ts
 * import { createRuntime, gradient, input, mean, square, type Tensor } from 'choir/graph'
 *
 * const x = input('x', 'float32', [3])
 * const loss = mean(square(x))
 * const [dx] = gradient(loss, [x]) as [Tensor]
 * const runtime = await createRuntime()
 * const program = await runtime.compile({ outputs: { loss, dx } })
 * const buffers = { x: Float32Array.of(1, 2, 3), loss: new Float32Array(1), dx: new Float32Array(3) }
 * const binding = program.bind(buffers)
 * await binding.run() // buffers.loss is [14/3], buffers.dx is [2/3, 4/3, 2]
 * await runtime.close()
 * ```
 *
 * The exports of this module follow semantic versioning.
 *
 * @module choir/graph
 */
import { z } from 'zod'
import { checkOptions } from '../../core/config/options.ts'
import type { Runtime, RuntimeOptions } from '../../engine/contract/runtime.ts'
import { createRuntime as createCpuRuntime } from '../../engine/cpu/cpu-runtime.ts'

export * from '../../core/graph/ops/public.ts'
export type { Arena, ArenaRange, HostMemory, SharedMemory } from '../../engine/contract/arena.ts'
export type { LoggedOrder, OrderLog } from '../../engine/contract/order-log.ts'
export type {
  Binding,
  Buffer,
  CompileOptions,
  EarlyExchange,
  Exchanges,
  Executable,
  GroupPlace,
  PortMemory,
  Precision,
  ProgramMemory,
  RunOptions,
  RunReport,
  Runtime,
  RuntimeOptions,
} from '../../engine/contract/runtime.ts'
export type { NodeTime, StepEvent } from '../../engine/contract/times.ts'

/**
 * Creates a runtime that computes on the CPU, with ONNX Runtime and, if it is installed, oneDNN. Close it in the end.
 * @throws UsageError for an invalid option; RuntimeError if ONNX Runtime is missing or unusable.
 */
export async function createRuntime(options: RuntimeOptions = {}): Promise<Runtime> {
  const { group: _, ...plain } = options ?? {}
  checkOptions('options of createRuntime', options && plain, {
    threads: z.int().positive().optional(),
    device: z.enum(['cpu']).optional(),
    profile: z.boolean().optional(),
    math: z.enum(['float32', 'bf16']).optional(),
  })
  return createCpuRuntime(options)
}
