/** An object read from a file, not yet checked against a schema. */
export type Fields = Record<string, unknown>

/** Whether a value is an object, neither null nor a list. */
export const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
