/** Dispatches bound to memory: operands become slices of buffers. */
import { RuntimeError } from '../contract/runtime-error.ts'
import type { Device } from './device.ts'
import type { Dispatch, Workgroups } from './kernels/contract.ts'
import { moduleOf } from './module.ts'
import type { Slice } from './program/slice.ts'
import type { WorkQueue } from './queue.ts'

export interface BoundDispatch {
  readonly dispatch: Dispatch
  readonly pipeline: GPUComputePipeline
  readonly group: GPUBindGroup
  /** Memory with the numbers of workgroups, if an earlier dispatch computes them. */
  readonly indirect: Slice | null
}

export interface DispatchOperands {
  readonly slices: readonly Slice[]
  readonly indirect?: Slice | null
  /** The layer, for messages. */
  readonly where?: string
}

/**
 * Binds a dispatch. Operands in the same memory become one binding.
 * @throws RuntimeError if an operand is larger than the device binds
 */
export function bindDispatch(
  device: Pick<Device, 'gpu' | 'pipeline'>,
  dispatch: Dispatch,
  { slices, indirect = null, where = '' }: DispatchOperands,
): BoundDispatch {
  const { gpu } = device
  const most = gpu.limits.maxStorageBufferBindingSize
  const bindings: number[] = []
  const bound: Slice[] = []
  for (const slice of slices) {
    if (slice.bytes > most)
      throw new RuntimeError(
        `a tensor of ${dispatch.name}${where && ` in ${where}`} has ${mib(slice.bytes)}, and this GPU binds at most ` +
          `${mib(most)} (use a smaller vocabulary, fewer or smaller experts, or a smaller micro-batch)`,
      )
    const same = bound.findIndex(({ buffer, offset }) => buffer === slice.buffer && offset === slice.offset)
    bindings.push(same >= 0 ? same : bound.push(slice) - 1)
  }
  const pipeline = device.pipeline(moduleOf(dispatch, bindings), dispatch.name)
  const entries = bound.map(({ buffer, offset, bytes }, binding) => ({
    binding,
    resource: { buffer, offset, size: bytes },
  }))
  const group = gpu.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries })
  return { dispatch, pipeline, group, indirect }
}

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`

/** Records a dispatch in a pass. */
export function record({ dispatch, pipeline, group, indirect }: BoundDispatch, pass: GPUComputePassEncoder): void {
  pass.setPipeline(pipeline)
  pass.setBindGroup(0, group)
  if (indirect) pass.dispatchWorkgroupsIndirect(indirect.buffer, indirect.offset)
  else pass.dispatchWorkgroups(...(dispatch.workgroups as Workgroups))
}

/** Records all dispatches in one pass. */
export function recordAll(queue: WorkQueue, all: readonly BoundDispatch[]): void {
  const pass = queue.pass()
  for (const each of all) record(each, pass)
}
