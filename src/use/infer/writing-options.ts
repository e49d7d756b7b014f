/** Options of text that a model writes, for callers of the library. */
import { z } from 'zod'
import { isFields } from '../../core/config/fields.ts'
import { abortSignal, expectLive } from '../../core/config/options.ts'
import { formatValue, parseInput } from '../../core/config/problems.ts'
import { UsageError } from '../../core/errors.ts'
import type { TextOptions } from './continue-text.ts'
import type { SamplingOptions } from './generation/sampling.ts'
import { grammarOf, type JsonSchema } from './json/schema.ts'

/**
 * Optional settings of text that a model writes, with the defaults of `choir generate`: temperature 0.8, top-k 40,
 * top-p 0.95, 200 tokens, seed 0.
 */
export interface WritingOptions extends Partial<SamplingOptions> {
  /** Maximum number of tokens; the text stops earlier at the end of a document. */
  readonly tokens?: number
  readonly seed?: number
  /** Stop texts: the text ends before the first of them that comes, and nothing of it is written. */
  readonly stop?: readonly string[]
  /** A JSON Schema: the text is a value that is valid by it, in JSON, unless it ends early. */
  readonly schema?: JsonSchema
  readonly signal?: AbortSignal
}

const writingSchema = z.strictObject({
  temperature: z.number().nonnegative().default(0.8),
  topK: z.int().nonnegative().default(40),
  topP: z.number().positive().max(1).default(0.95),
  tokens: z.int().positive().default(200),
  seed: z.int().nonnegative().default(0),
  stop: z.array(z.string().min(1)).default([]),
  schema: z.unknown().optional(),
})

/**
 * Checks the options of a caller and fills in the defaults.
 * @throws UsageError if an option is out of range, or the schema is wrong or not supported
 */
export function textOptions(prompt: string, options: WritingOptions): TextOptions {
  if (typeof prompt !== 'string') throw new UsageError(`invalid prompt: ${formatValue(prompt)} (expected text)`)
  if (!isFields(options))
    throw new UsageError(`invalid options of generate: ${formatValue(options)} (expected an object)`)
  const { signal, ...plain } = options as WritingOptions
  expectLive('signal', signal, abortSignal)
  const { schema, ...checked } = parseInput(writingSchema, plain, 'options of generate')
  if (schema !== undefined) grammarOf(schema, 'schema')
  return {
    prompt,
    ...checked,
    ...(schema !== undefined && { schema: schema as JsonSchema }),
    ...(signal && { signal }),
  }
}
