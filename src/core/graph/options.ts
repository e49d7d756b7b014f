/** Checks what callers without types give to functions of the graph. The floors above have schemas for this. */
import { UsageError } from '../errors.ts'
import { nearestName } from '../text/nearest.ts'

/**
 * Refuses anything but an object with some of the accepted fields.
 * @param subject Name of the object in messages, such as `options of matmul`.
 * @throws UsageError with the unknown field, the accepted fields and the nearest of them
 */
export function expectFields(subject: string, value: unknown, accepted: readonly string[]): void {
  if (!isObject(value)) throw new UsageError(`invalid ${subject}: ${shown(value)} (expected an object)`)
  const unknown = Object.keys(value).find((key) => !accepted.includes(key))
  if (unknown === undefined) return
  const near = nearestName(unknown, accepted)
  const hint = near === undefined ? '' : `; did you mean "${near}"?`
  throw new UsageError(`unknown field ${unknown} in ${subject} (accepted: ${accepted.join(', ')}${hint})`)
}

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A wrong value in a message. Objects are not written out, because a tensor has the whole graph before it. */
export function shown(value: unknown): string {
  if (Array.isArray(value))
    return value.every((entry) => typeof entry === 'number') ? `[${value.join(', ')}]` : 'a list'
  if (typeof value === 'object' && value !== null) return 'an object'
  if (typeof value === 'function') return 'a function'
  return typeof value === 'string' ? JSON.stringify(value) : String(value)
}
