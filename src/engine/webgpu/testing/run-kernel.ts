/** Runs one kernel on arrays, for tests of kernels: on the first adapter, which may be a software one. */
import { vi } from 'vitest'
import type { Shape } from '../../../core/graph/model.ts'
import type { AttributeValue } from '../../../core/graph/tensor.ts'
import { openNodeDevice } from '../../dawn/node-device.ts'
import type { Kernel, MemoryType, Operand, Place } from '../contract.ts'
import type { Device } from '../device.ts'
import { moduleOf } from '../module.ts'
import { halfBits, halfFromBits } from './half.ts'

export interface TestTensor {
  readonly dtype: MemoryType
  readonly shape: Shape
  /** Absent for outputs, which begin as NaN (floats) or −1. */
  readonly data?: ArrayLike<number>
}

export interface TestCall {
  readonly type?: string
  readonly attributes?: Readonly<Record<string, AttributeValue>>
  readonly inputs: readonly TestTensor[]
  readonly outputs: readonly TestTensor[]
  readonly added?: readonly number[]
  readonly scales?: Readonly<Record<number, number>>
  readonly rounds?: boolean
}

// A software device compiles each pipeline for a second or two, if the cache of its driver is cold.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 })

/** The device of a test file; null if the machine has no adapter. `.ci/run` fails if tests were skipped for it. */
export const testDevice: Device | null = await openNodeDevice().catch(() => null)

const sizeOf = (shape: Shape): number => shape.reduce((product, d) => product * d, 1)

/** The outputs of a kernel, as numbers. */
export async function runKernel(device: Device, kernel: Kernel, call: TestCall): Promise<Float64Array[]> {
  const { gpu } = device
  const operand = ({ dtype, shape }: TestTensor): Operand => ({ dtype, shape, size: sizeOf(shape) })
  const [inputs, outputs] = [call.inputs.map(operand), call.outputs.map(operand)]
  const { type = 'test', attributes = {}, added = [], scales = {}, rounds = false } = call
  const { scratch = [], dispatches } = kernel.lower(
    { type, attributes, inputs, outputs, added, scales, rounds },
    device.features,
  )
  const buffers = (tensors: readonly TestTensor[]) =>
    tensors.map((tensor) => ({ ...tensor, buffer: upload(gpu, tensor) }))
  const all = { input: buffers(call.inputs), output: buffers(call.outputs), scratch: buffers(scratch) }
  const at = (place: Place) => {
    const [[kind, index]] = Object.entries(place).filter(([key]) => key !== 'as') as [[keyof typeof all, number]]
    return all[kind][index] as (typeof all)['input'][number]
  }
  const encoder = gpu.createCommandEncoder()
  for (const dispatch of dispatches) {
    const operands = dispatch.operands.map(at)
    const code = moduleOf(
      dispatch,
      operands.map(({ dtype }) => dtype),
      operands.map((_, i) => i),
    )
    const pipeline = device.pipeline(code, dispatch.name)
    const entries = operands.map(({ buffer }, binding) => ({ binding, resource: { buffer } }))
    const pass = encoder.beginComputePass()
    pass.setPipeline(pipeline)
    pass.setBindGroup(0, gpu.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }))
    if ('indirect' in dispatch.workgroups) pass.dispatchWorkgroupsIndirect(at(dispatch.workgroups.indirect).buffer, 0)
    else pass.dispatchWorkgroups(...dispatch.workgroups)
    pass.end()
  }
  const staging = all.output.map(({ buffer }) => {
    const copy = gpu.createBuffer({ size: buffer.size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST })
    encoder.copyBufferToBuffer(buffer, 0, copy, 0, buffer.size)
    return copy
  })
  gpu.queue.submit([encoder.finish()])
  await device.idle()
  const results: Float64Array[] = []
  for (const [i, copy] of staging.entries()) {
    await device.wait(copy.mapAsync(GPUMapMode.READ))
    const { dtype, size } = outputs[i] as Operand
    const values = copy.getMappedRange()
    if (dtype === 'float16') results.push(Float64Array.from(new Uint16Array(values, 0, size), halfFromBits))
    else if (dtype === 'float32') results.push(Float64Array.from(new Float32Array(values, 0, size)))
    else results.push(Float64Array.from(new Int32Array(values, 0, size)))
    copy.destroy()
  }
  device.check()
  for (const { buffer } of [...all.input, ...all.output, ...all.scratch]) buffer.destroy()
  return results
}

/** Memory of whole words. */
function valuesOf(dtype: MemoryType, size: number): Uint16Array | Float32Array | Int32Array {
  if (dtype === 'float16') return new Uint16Array(2 * Math.ceil(size / 2)).fill(halfBits(Number.NaN))
  return dtype === 'float32' ? new Float32Array(size).fill(Number.NaN) : new Int32Array(size).fill(-1)
}

function upload(gpu: GPUDevice, { dtype, shape, data }: TestTensor): GPUBuffer {
  const size = Math.max(sizeOf(shape), 1)
  const values = valuesOf(dtype, size)
  if (data) values.set(dtype === 'float16' ? Array.from(data, halfBits) : Array.from(data))
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST | GPUBufferUsage.INDIRECT
  const buffer = gpu.createBuffer({ size: values.byteLength, usage })
  gpu.queue.writeBuffer(buffer, 0, values as Float32Array<ArrayBuffer>)
  return buffer
}
