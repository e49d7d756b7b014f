/**
 * The rules of a model for its texts: the tokens around them, and how a chat is written. A tokenizer.json alone does not
 * hold them: a model of another library has them in generation_config.json and tokenizer_config.json too.
 */
import { z } from 'zod'
import { expectationOf } from '../../../core/config/expected.ts'
import { beginOfTextId, endOfTextId, parseTokenizerJson, type TokenizerJson, tokensOf } from './tokenizer-json.ts'

/** Maximum length of a chat template, in characters. Published templates have at most some ten thousand. */
export const MAX_TEMPLATE = 2 ** 18

const id = z.int().nonnegative()

const rulesSchema = z.strictObject({
  begin: id.nullable(),
  end: z.array(id).min(1),
  specialTokens: z.record(z.string(), z.string()),
  chatTemplate: z.string().max(MAX_TEMPLATE).nullable(),
})

export interface TextRules {
  /** Id of the token before a text; null if there is none. */
  readonly begin: number | null
  /** Ids that end a text, at least one. */
  readonly end: readonly number[]
  /** Texts of tokens by the names that chat templates use, such as `bos_token`. */
  readonly specialTokens: Readonly<Record<string, string>>
  /** The chat template, a program in Jinja; null if there is none. */
  readonly chatTemplate: string | null
}

/**
 * Rules of a tokenizer.json alone: a text begins with the token that the file puts there, or else follows the separator
 * of documents, as in training. The separator ends it.
 */
export function rulesOf(json: TokenizerJson, endOfText: number): TextRules {
  return { begin: beginOfTextId(json) ?? endOfText, end: [endOfText], specialTokens: {}, chatTemplate: null }
}

/** Parses rules that were stored. @throws Error with the field and what is expected, if the value is not such rules */
export function parseTextRules(value: unknown): TextRules {
  const parsed = rulesSchema.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw new Error(`${issue?.path.join('.') || 'its top level'}: ${issue && expectationOf(issue)}`)
}

/**
 * The rules of a model that is trained further: training puts the separator between documents, so it ends a text too.
 * @param tokenizer Text of tokenizer.json.
 */
export function withSeparator(rules: TextRules, tokenizer: string): TextRules {
  const where = 'tokenizer.json'
  const endOfText = endOfTextId(tokensOf(parseTokenizerJson(tokenizer, where), where), where)
  return rules.end.includes(endOfText) ? rules : { ...rules, end: [...rules.end, endOfText] }
}
