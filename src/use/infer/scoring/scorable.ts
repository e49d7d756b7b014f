/** The items that a model can score, and their check: callers give them as objects or as lines of JSON. */
import { z } from 'zod'
import { isFields } from '../../../core/config/fields.ts'
import { formatValue, parseInput } from '../../../core/config/problems.ts'
import { UsageError } from '../../../core/errors.ts'

/** A text, all of whose tokens are scored. */
export type WholeText = string | { readonly text: string }

/** A continuation of a context, which may be empty. Only the tokens of the continuation are scored. */
export interface Continued {
  readonly context: string
  readonly continuation: string
}

/** A question of multiple choice: continuations of one context, at least one. */
export interface Choices {
  readonly context: string
  readonly choices: readonly string[]
}

export type Scorable = WholeText | Continued | Choices

/** An item to score, and its name in messages, such as `line 3 of questions.jsonl`. */
export interface NamedItem {
  readonly item: Scorable
  readonly name: string
}

const filled = z.string().refine((text) => text !== '', 'it is empty; expected at least one character')

const itemSchema = z.strictObject({
  text: filled.optional(),
  context: z.string().optional(),
  continuation: filled.optional(),
  choices: z.array(filled).min(1).optional(),
})

/** The fields that an item may have. */
const shapes: readonly string[] = ['text', 'context and continuation', 'context and choices']

/**
 * Checks an item.
 * @param value A string, or an object with the field `text`, with `context` and `continuation`, or with `context` and
 * `choices`.
 * @param name Name of the item in messages.
 * @throws UsageError that names the field, its value and what is accepted
 */
export function scorable(value: unknown, name: string): NamedItem {
  const given = typeof value === 'string' ? { text: value } : value
  if (!isFields(given))
    throw new UsageError(`invalid ${name}: ${formatValue(given)} (expected an object with ${listed(shapes)})`)
  try {
    parseInput(itemSchema, given, name)
  } catch (error) {
    throw error instanceof UsageError ? new UsageError(`${name}: ${error.message}`) : error
  }
  const fields = Object.keys(itemSchema.shape).filter((field) => given[field] !== undefined)
  if (!shapes.includes(fields.join(' and ')))
    throw new UsageError(
      `invalid ${name}: it has ${fields.length === 0 ? 'no fields' : fields.join(', ')} (expected ${listed(shapes)})`,
    )
  const item = Object.fromEntries(fields.map((field) => [field, given[field]]))
  return { item: typeof value === 'string' ? value : (item as unknown as Scorable), name }
}

const listed = (parts: readonly string[]): string => `${parts.slice(0, -1).join('; ')}; or ${parts.at(-1)}`
