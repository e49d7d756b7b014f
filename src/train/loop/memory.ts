/** Whether the state of a training will find memory. The store itself refuses a state that never can. */

import { bytes } from '../../core/text/numbers.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import type { ParameterStore } from '../step/store/store.ts'

/**
 * A warning if parameters, gradients and moments need more than the memory that is free now: the system provides memory
 * page by page, and ends a process when no memory is left. Null otherwise, and for a device, which has memory of its
 * own.
 * @param free Free memory in bytes, within the limit of the container.
 */
export function memoryWarning(
  { device }: Pick<Runtime, 'device'>,
  { byteLength }: Pick<ParameterStore, 'byteLength'>,
  free: number = process.availableMemory(),
): string | null {
  if (device !== 'cpu' || byteLength <= free) return null
  return (
    `parameters, gradients and moments take ${bytes(byteLength)}, and ${bytes(free)} of memory are free: the system may ` +
    'end this process without a message (close other programs, or use a smaller model)'
  )
}
