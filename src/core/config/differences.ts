/** The fields in which two configurations differ. */
import { isFields } from './fields.ts'

export interface Difference {
  /** Path of the field, such as `train.steps`. */
  readonly field: string
  /** Undefined if the field is not set. */
  readonly from?: unknown
  readonly to?: unknown
}

/** The fields whose values differ, by path. A list is compared as one value. */
export function differences(from: unknown, to: unknown, field = ''): Difference[] {
  if (isFields(from) && isFields(to)) {
    const keys = new Set([...Object.keys(from), ...Object.keys(to)])
    return [...keys].flatMap((key) => differences(from[key], to[key], field === '' ? key : `${field}.${key}`))
  }
  return JSON.stringify(from) === JSON.stringify(to) ? [] : [{ field, from, to }]
}

/** The value of a field in a {@link Difference}, for messages. */
export const formatDifferent = (value: unknown): string => (value === undefined ? 'not set' : JSON.stringify(value))
