/** Values as they come from a file: an object whose fields are not known yet. */
export type Fields = Record<string, unknown>

/** Whether a value is an object with fields: no list, not null. */
export const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
