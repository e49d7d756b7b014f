/** Tensors over the caller's memory: each port of a model is bound to a typed array without a copy. */
import type { DType, Port } from '../../../core/graph/model.ts'
import type { Buffer } from '../../contract/runtime.ts'
import { addressOf, keepUntilHere, Out, type Pointer } from '../../native/ffi.ts'
import type { Environment } from './environment.ts'
import { expectSuccess } from './errors.ts'

/** ONNXTensorElementDataType of each dtype. */
const elementTypes: Readonly<Record<DType, number>> = { float32: 1, int32: 6, int64: 7, bool: 9, float64: 11 }

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
  keepUntilHere(shape)
  expectSuccess(api, status)
  return out.value
}
