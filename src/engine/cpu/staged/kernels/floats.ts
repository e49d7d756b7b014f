/** Tensors of floats that are float32 or bfloat16 in memory (`Kernel.halves`). */
import type { FactorType, MatrixLayout } from '../../primitives/primitives.ts'
import type { KernelCall, KernelTensor } from '../contract.ts'

export const isHalf = ({ dtype }: KernelTensor): boolean => dtype === 'bfloat16'

export const typeOf = (tensor: KernelTensor): FactorType => (isHalf(tensor) ? 'bfloat16' : 'float32')

/** Bytes of an element of floats. */
export const elementBytes = (tensor: KernelTensor): 2 | 4 => (isHalf(tensor) ? 2 : 4)

/** Address of the element `start` of a tensor of floats. */
export const addressAt = (tensor: KernelTensor, start: number): number => tensor.address + elementBytes(tensor) * start

/** The layout of rows without gaps of a tensor of floats. */
export const rowsOf = (tensor: KernelTensor, stride: number): MatrixLayout => ({ stride, prepared: isHalf(tensor) })

/** Number of bytes of a call that reads or writes each of its tensors once. */
export const bytesOfCall = ({ inputs, addends, outputs }: KernelCall): number =>
  [inputs, addends, outputs]
    .flatMap((tensors) => Object.values(tensors))
    .reduce((total, tensor) => total + (tensor ? elementBytes(tensor) * tensor.size : 0), 0)
