/** The form that a request wants its texts to have: any text, an object in JSON, or a value by a JSON Schema. */

import { UsageError } from '../../core/errors.ts'
import type { Tokenizer } from '../../train/data/tokenizer/tokenizer.ts'
import { SchemaError } from '../../use/infer/json/keywords.ts'
import { TextSchema } from '../../use/infer/json/text-schema.ts'
import { ApiError } from './api-error.ts'
import type { CommonFields } from './request-fields.ts'

/** @throws ApiError naming the keyword that is wrong or not supported; null: any text */
export function schemaOf({ response_format: format }: CommonFields, tokenizer: Tokenizer): TextSchema | null {
  if (!format || format.type === 'text') return null
  const schema = format.type === 'json_object' ? { type: 'object' } : format.json_schema.schema
  try {
    return new TextSchema(schema, 'response_format.json_schema.schema', tokenizer)
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    throw new ApiError(400, error.message, { param: error instanceof SchemaError ? error.place : 'response_format' })
  }
}
