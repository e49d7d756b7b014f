/**
 * Plain values, of which configurations are made: values that JSON can write, nested no deeper than people write them.
 */
import { UsageError } from '../errors.ts'
import { isFields } from './fields.ts'

/** Freezes a plain value and everything inside it, in place. */
export function frozen<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value
  for (const below of Object.values(value)) frozen(below)
  return Object.freeze(value)
}

/**
 * Deepest nesting that is accepted: far deeper than any setting, so that most mistakes are reported as unknown fields.
 */
export const MAX_DEPTH = 32

/**
 * @param subject Names the value in messages, e.g. `configuration`.
 * @throws UsageError if the value is nested deeper than {@link MAX_DEPTH}, contains itself, has a field `__proto__`,
 * which JavaScript would hide, or a list with named fields, which JSON cannot write (and with a field `constructor`,
 * `map` of a list throws)
 */
export function expectPlain(value: unknown, subject: string): void {
  const left: { readonly value: unknown; readonly path: readonly string[] }[] = [{ value, path: [] }]
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    const { path } = next
    if (path.length > MAX_DEPTH)
      throw new UsageError(
        `invalid ${subject}: ${path.slice(0, 3).join('.').slice(0, 60)} is nested more than ${MAX_DEPTH} deep, or ` +
          'contains itself (no setting is as deep)',
      )
    if (Array.isArray(next.value)) {
      // Numbered keys come before all others.
      const named = Object.keys(next.value).at(-1)
      if (named !== undefined && !/^\d+$/.test(named))
        throw new UsageError(
          `invalid ${subject}: ${path.join('.').slice(0, 60) || 'it'} is a list with a field ${JSON.stringify(named.slice(0, 60))} ` +
            '(lists have items only)',
        )
      const below = [...path, '0']
      for (const item of next.value) left.push({ value: item, path: below })
    } else if (isFields(next.value))
      for (const [key, below] of Object.entries(next.value)) {
        if (key === '__proto__') throw new UsageError(`invalid ${subject}: unknown field ${[...path, key].join('.')}`)
        if (typeof below === 'object' && below !== null) left.push({ value: below, path: [...path, key] })
      }
  }
}
