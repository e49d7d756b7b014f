/** Our schemas as JSON Schema, from which messages take the names and values that a field accepts. */
import { z } from 'zod'

/** The subset of JSON Schema that our schemas produce, and the facts that they add with `meta`. */
export interface JsonSchema {
  readonly type?: string
  readonly enum?: readonly string[]
  readonly const?: string
  readonly default?: unknown
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly additionalProperties?: JsonSchema | false
  readonly items?: JsonSchema | false
  /** Of a pair; our schemas have no other tuples. */
  readonly prefixItems?: readonly JsonSchema[]
  readonly minItems?: number
  readonly maxItems?: number
  readonly anyOf?: readonly JsonSchema[]
  /** Alternatives that differ in the constant `kind`. */
  readonly oneOf?: readonly JsonSchema[]
  readonly minimum?: number
  readonly exclusiveMinimum?: number
  readonly maximum?: number
  readonly exclusiveMaximum?: number
  /** Why there is a maximum. */
  readonly reason?: string
  /** Example of a file of the user's own, which users write in place of the value `own`. */
  readonly file?: string
  /** Values that users may expect to be accepted, with the reason why they are not. */
  readonly refused?: Readonly<Record<string, string>>
}

/** The schema of what users write: fields with a default may be absent. */
export const jsonSchemaOf = (schema: z.ZodType): JsonSchema =>
  z.toJSONSchema(schema, { io: 'input' }) as unknown as JsonSchema
