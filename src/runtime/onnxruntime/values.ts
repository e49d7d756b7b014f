/**
 * Tensors over the caller's memory: each port of a model tied to a typed array, without a copy.
 * Everything that could make ONNX Runtime read outside an array is refused here.
 */
import type { DType, Port } from '../../graph/model.ts'
import { type Buffer, RuntimeError, typedArrays } from '../contract.ts'
import { addressOf, type Pointer } from '../ffi.ts'
import { Out } from './api.ts'
import type { Environment } from './environment.ts'
import { expectSuccess } from './errors.ts'

/** ONNXTensorElementDataType of each dtype. */
const elementTypes: Readonly<Record<DType, number>> = { float32: 1, int32: 6, int64: 7, bool: 9, float64: 11 }

/** @throws RuntimeError naming the port when a port has no array, or an array no port or a wrong one. */
export function checkBuffers(ports: readonly Port[], buffers: Readonly<Record<string, Buffer>>): void {
  const known = new Set(ports.map((port) => port.name))
  for (const name of Object.keys(buffers))
    if (!known.has(name))
      throw new RuntimeError(`unknown port: ${name} (the program has ${[...known].join(', ') || 'no ports'})`)
  for (const port of ports) {
    const buffer = Object.hasOwn(buffers, port.name) ? buffers[port.name] : undefined
    const TypedArray = typedArrays[port.dtype]
    const length = port.shape.reduce((product, dimension) => product * dimension, 1)
    const wanted = `${TypedArray.name} of ${length} for ${port.dtype}[${port.shape.join(', ')}]`
    if (buffer === undefined) throw new RuntimeError(`missing port: ${port.name} (expected a ${wanted})`)
    if (!(buffer instanceof TypedArray) || buffer.length !== length)
      throw new RuntimeError(
        `invalid array for port ${port.name}: ${buffer.constructor.name} of ${buffer.length} (expected a ${wanted})`,
      )
  }
}

/** An OrtValue over `buffer`, which must stay referenced until the value is released. */
export function createValue({ api, userMemory }: Environment, port: Port, buffer: Buffer): Pointer {
  const out = new Out()
  const shape = new BigInt64Array(port.shape.map(BigInt))
  const status = api.CreateTensorWithDataAsOrtValue(
    userMemory,
    addressOf(buffer),
    buffer.byteLength,
    addressOf(shape),
    shape.length,
    elementTypes[port.dtype],
    out.address,
  )
  expectSuccess(api, status)
  return out.value
}
