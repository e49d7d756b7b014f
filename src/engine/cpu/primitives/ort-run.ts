/**
 * The function OrtApi.Run, found by its address, for threads that run models without the rest of ONNX Runtime's API.
 */

import type { Pointer } from '../../native/ffi.ts'
import { koffi } from '../../native/koffi.ts'

/** OrtApi.Run with addresses as numbers, which are faster than bigints. @returns the address of a status, or 0 */
export type OrtRun = (...args: readonly number[]) => number

export function ortRunAt(address: Pointer): OrtRun {
  const pointer = 'uintptr_t'
  const parameters = [pointer, pointer, pointer, pointer, 'size_t', pointer, 'size_t', pointer]
  return koffi.decode(address, koffi.proto(pointer, parameters))
}
