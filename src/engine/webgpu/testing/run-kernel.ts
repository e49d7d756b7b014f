/** Runs one kernel on arrays, for tests of kernels: on the first adapter, which may be a software adapter. */
import { vi } from 'vitest'
import type { OperandName, Operands } from '../../../core/graph/kernels/declaration.ts'
import type { Shape } from '../../../core/graph/model.ts'
import { openNodeDevice } from '../../dawn/node-device.ts'
import { bindDispatch, record } from '../bound.ts'
import type { Device } from '../device.ts'
import {
  type Kernel,
  type KernelCall,
  type MemoryType,
  type Operand,
  operandOf,
  type Signature,
} from '../kernels/contract.ts'
import type { Slice } from '../program/slice.ts'
import { halfBits, halfFromBits } from './half.ts'

/** A tensor in memory of its own: the same object twice is the same memory, for results that overwrite an input. */
export interface TestTensor {
  readonly dtype: MemoryType
  readonly shape: Shape
  /** The numbers; absent for outputs, which begin as NaN (floats) or −1. */
  readonly data?: ArrayLike<number>
}

type OutputName<S extends Signature> = OperandName<S['outputs'][number]>

/** A call by names, as its kernel is declared. */
export type TestCall<S extends Signature> = Given<KernelCall<S>['attributes']> & {
  readonly inputs: Operands<S['inputs'][number], TestTensor>
  readonly outputs: Operands<S['outputs'][number], TestTensor>
  readonly addends?: { readonly [Name in OutputName<S>]?: TestTensor | undefined }
  readonly scales?: KernelCall<S>['scales']
  readonly rounds?: boolean
}

/** The attributes of a call, which may be absent for kernels without attributes. */
type Given<A> = Record<string, never> extends A ? { readonly attributes?: A } : { readonly attributes: A }

export type Results<S extends Signature> = Operands<S['outputs'][number], Float64Array>

// A software device compiles each pipeline for a second or two, if the cache of its driver is cold.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 })

/**
 * The device of a test file; null if the machine has no adapter. `.ci/run` fails if tests were skipped for lack of one.
 */
export const testDevice: Device | null = await openNodeDevice().catch(() => null)

/** Runs a kernel and returns its outputs as numbers. */
export async function runKernel<S extends Signature>(
  device: Device,
  kernel: Kernel<S>,
  call: TestCall<NoInfer<S>>,
): Promise<Results<S>> {
  const { gpu } = device
  const slices = new Map<Operand, Slice>()
  const sliceOf = (operand: Operand, data?: ArrayLike<number>): Slice => {
    const slice = slices.get(operand) ?? upload(gpu, operand, data)
    slices.set(operand, slice)
    return slice
  }
  const operands = new Map<TestTensor, Operand>()
  const place = (tensor: TestTensor): Operand => {
    const operand = operands.get(tensor) ?? operandOf(tensor.dtype, tensor.shape)
    operands.set(tensor, operand)
    sliceOf(operand, tensor.data)
    return operand
  }
  const all = (tensors: Readonly<Record<string, TestTensor | undefined>> = {}): Readonly<Record<string, Operand>> =>
    Object.fromEntries(Object.entries(tensors).flatMap(([name, tensor]) => (tensor ? [[name, place(tensor)]] : [])))
  const { attributes = {}, scales = {}, rounds = false } = call
  const [inputs, outputs, addends] = [all(call.inputs), all(call.outputs), all(call.addends)]
  const { lower }: Kernel = kernel
  const encoder = gpu.createCommandEncoder()
  for (const dispatch of lower({ attributes, inputs, outputs, addends, scales, rounds })) {
    const { workgroups } = dispatch
    const bound = bindDispatch(device, dispatch, {
      slices: dispatch.operands.map(({ of }) => sliceOf(of)),
      indirect: 'indirect' in workgroups ? sliceOf(workgroups.indirect) : null,
    })
    const pass = encoder.beginComputePass()
    record(bound, pass)
    pass.end()
  }
  const staging = Object.entries(outputs).map(([name, operand]) => {
    const { buffer } = sliceOf(operand)
    const copy = gpu.createBuffer({ size: buffer.size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST })
    encoder.copyBufferToBuffer(buffer, 0, copy, 0, buffer.size)
    return { name, operand, copy }
  })
  gpu.queue.submit([encoder.finish()])
  await device.idle()
  const results: [name: string, numbers: Float64Array][] = []
  for (const { name, operand, copy } of staging) {
    await device.wait(copy.mapAsync(GPUMapMode.READ))
    results.push([name, numbersOf(operand, copy.getMappedRange())])
    copy.destroy()
  }
  device.check()
  for (const { buffer } of slices.values()) buffer.destroy()
  return Object.fromEntries<unknown>(results) as Results<S>
}

function numbersOf({ dtype, size }: Operand, values: ArrayBuffer): Float64Array {
  if (dtype === 'float16') return Float64Array.from(new Uint16Array(values, 0, size), halfFromBits)
  if (dtype === 'float32') return Float64Array.from(new Float32Array(values, 0, size))
  return Float64Array.from(new Int32Array(values, 0, size))
}

/** The values of a tensor without data, in memory of whole words. */
function valuesOf(dtype: MemoryType, size: number): Uint16Array | Float32Array | Int32Array {
  if (dtype === 'float16') return new Uint16Array(2 * Math.ceil(size / 2)).fill(halfBits(Number.NaN))
  return dtype === 'float32' ? new Float32Array(size).fill(Number.NaN) : new Int32Array(size).fill(-1)
}

function upload(gpu: GPUDevice, { dtype, size }: Operand, data?: ArrayLike<number>): Slice {
  const values = valuesOf(dtype, Math.max(size, 1))
  if (data) values.set(dtype === 'float16' ? Array.from(data, halfBits) : Array.from(data))
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST | GPUBufferUsage.INDIRECT
  const buffer = gpu.createBuffer({ size: values.byteLength, usage })
  gpu.queue.writeBuffer(buffer, 0, values as Float32Array<ArrayBuffer>)
  return { buffer, offset: 0, bytes: values.byteLength }
}
