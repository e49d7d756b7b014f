/**
 * Checks the options of calls of the library. A caller in JavaScript can pass anything, so options are checked by a
 * schema, as configurations are: an unknown option is refused with the nearest name. Functions and signals are used,
 * not copied, so they are checked apart from the schema.
 */
import { z } from 'zod'
import { UsageError } from '../errors.ts'
import { isFields } from './fields.ts'
import { formatValue, parseInput } from './problems.ts'

/** A kind of value that no schema describes. */
export interface Live {
  readonly accepts: (value: unknown) => boolean
  readonly expected: string
}

export const callback: Live = { accepts: (value) => typeof value === 'function', expected: 'a function' }

/** A signal is recognized by its methods: one of another realm (an iframe, a `vm` context) has another class. */
export const abortSignal: Live = {
  accepts: (value) =>
    typeof value === 'object' &&
    value !== null &&
    'aborted' in value &&
    'throwIfAborted' in value &&
    'addEventListener' in value,
  expected: 'an AbortSignal',
}

/** An object with methods. */
export const object: Live = { accepts: isFields, expected: 'an object' }

/**
 * @param subject Name of the options in messages, such as `options of train`.
 * @param plain Fields of JSON, each with its schema.
 * @param live Fields of other values, all optional.
 * @throws UsageError listing every problem: field, value, what is accepted and the nearest name
 */
export function checkOptions(
  subject: string,
  options: unknown,
  plain: z.ZodRawShape,
  live: Readonly<Record<string, Live>> = {},
): void {
  if (!isFields(options)) throw new UsageError(`invalid ${subject}: ${formatValue(options)} (expected an object)`)
  // The schema has the names of live options too, so that the message about an unknown option lists all names.
  const known = Object.fromEntries(Object.keys(live).map((name) => [name, z.unknown().optional()]))
  const values = Object.entries(options).filter(([name]) => !Object.hasOwn(live, name))
  parseInput(z.strictObject({ ...plain, ...known }), Object.fromEntries(values), subject)
  for (const [name, kind] of Object.entries(live)) expectLive(name, options[name], kind)
}

/** @throws UsageError unless the value is undefined or accepted */
export function expectLive(name: string, value: unknown, { accepts, expected }: Live): void {
  if (value !== undefined && !accepts(value))
    throw new UsageError(`invalid ${name}: ${formatValue(value)} (expected ${expected})`)
}

/** @throws UsageError unless the value is a non-empty text */
export function expectPath(name: string, value: unknown, expected: string): void {
  if (typeof value === 'string' && value !== '') return
  const shown = value === undefined ? 'undefined' : formatValue(value)
  throw new UsageError(`invalid ${name}: ${shown} (expected ${expected})`)
}
