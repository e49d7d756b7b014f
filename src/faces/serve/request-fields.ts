/**
 * The fields that requests may have. Fields of OpenAI that would change nothing here are accepted and ignored; a field or
 * a value that would need something that Choir lacks is refused, so that no client takes it for granted.
 */
import { z } from 'zod'
import { parseInput } from '../../core/config/problems.ts'
import { UsageError } from '../../core/errors.ts'
import { grouped } from '../../core/text/numbers.ts'
import { ApiError } from './api-error.ts'

/** Limits of a request. */
export const limits = {
  /** Most texts that a request may ask for. */
  texts: 128,
  /** Most tokens of a text, and of all texts of a request. */
  tokens: 65_536,
  allTokens: 2 ** 20,
  /** Most log-probabilities of a request, and most choices of experts. */
  details: 1_000_000,
  /** Most messages of a chat, and most parts of their contents. */
  messages: 4096,
  /** Most characters of all fields other than the prompt or the messages. */
  others: 65_536,
  topLogprobs: 20,
}

const penalty = z
  .number()
  .nullish()
  .refine((value) => !value, 'there are no penalties here: leave the field out')
const ignored = z.unknown().optional()
/** The prompt or the messages, which are taken out of a request and checked apart: a message about fields names them. */
const taken = z.unknown().optional()

const responseFormat = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('text') }),
  z.strictObject({ type: z.literal('json_object') }),
  z.strictObject({
    type: z.literal('json_schema'),
    json_schema: z.strictObject({
      name: ignored,
      description: ignored,
      strict: ignored,
      // It is checked when a grammar is made of it.
      schema: z.unknown().optional(),
    }),
  }),
])

const commonFields = {
  model: z.string().optional(),
  max_tokens: z.int().min(0).max(limits.tokens).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_k: z.int().min(0).nullish(),
  n: z.int().min(1).max(limits.texts).nullish(),
  stop: z.union([z.string(), z.array(z.string()).max(32)]).nullish(),
  seed: z.int().min(0).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.strictObject({ include_usage: z.boolean().optional(), include_obfuscation: ignored }).nullish(),
  choir: z.strictObject({ routing: z.boolean().optional() }).nullish(),
  response_format: responseFormat.nullish(),
  presence_penalty: penalty,
  frequency_penalty: penalty,
  logit_bias: z.unknown().optional().refine(isNothing, 'a bias of tokens is not possible here: leave the field out'),
  user: ignored,
  metadata: ignored,
  store: ignored,
  service_tier: ignored,
  safety_identifier: ignored,
  prompt_cache_key: ignored,
}

function isNothing(value: unknown): boolean {
  return value === undefined || value === null || (typeof value === 'object' && Object.keys(value).length === 0)
}

export const completionFields = z.strictObject({
  ...commonFields,
  prompt: taken,
  echo: z.boolean().nullish(),
  logprobs: z.int().min(0).max(limits.topLogprobs).nullish(),
  best_of: z
    .int()
    .nullish()
    .refine(
      (value) => value === undefined || value === null || value === 1,
      'texts are not compared here: leave the field out',
    ),
  suffix: z
    .string()
    .nullish()
    .refine((value) => !value, 'no text can follow here: leave the field out'),
})

export const chatFields = z.strictObject({
  ...commonFields,
  messages: taken,
  max_completion_tokens: commonFields.max_tokens,
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(limits.topLogprobs).nullish(),
})

export type CommonFields = z.output<z.ZodObject<typeof commonFields>>

/**
 * Checks the fields of a request besides its prompt or messages.
 * @throws ApiError naming the field, its value and what is accepted
 */
export function parseFields<Schema extends z.ZodType>(schema: Schema, fields: object): z.output<Schema> {
  const { length } = JSON.stringify(fields)
  if (length > limits.others)
    throw new ApiError(
      400,
      `the request has ${grouped(length)} characters besides its prompt or messages (expected at most ${grouped(limits.others)})`,
    )
  try {
    return parseInput(schema, fields, 'request')
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    const [issue] = schema.safeParse(fields).error?.issues ?? []
    const unknown = issue?.code === 'unrecognized_keys' ? issue.keys.slice(0, 1) : []
    throw new ApiError(400, error.message, { param: [...(issue?.path ?? []), ...unknown].join('.') || null })
  }
}
