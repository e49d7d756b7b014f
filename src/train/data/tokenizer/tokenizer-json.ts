/** The parts of Hugging Face's tokenizer.json that we read and write. Other fields are kept unchanged. */
import { z } from 'zod'
import { expectationOf } from '../../../core/config/expected.ts'
import { formatValue } from '../../../core/config/problems.ts'
import { UsageError } from '../../../core/errors.ts'
import { parseJson } from '../../../core/text/json.ts'
import { byteCharacters } from './bytelevel.ts'

/** Maximum length of an added token. Every place of a text is compared with up to this many characters. */
const MAX_ADDED_TOKEN = 1000

const addedTokenSchema = z.looseObject({
  id: z.int().nonnegative(),
  content: z.string().min(1).max(MAX_ADDED_TOKEN),
  single_word: z.boolean().optional(),
  lstrip: z.boolean().optional(),
  rstrip: z.boolean().optional(),
  special: z.boolean().optional(),
})

const decoderSchema = z.looseObject({
  type: z.string(),
  decoders: z.array(z.looseObject({ type: z.string() })).optional(),
})

/** A rule for the tokens that stand around a text. */
const processorSchema = z.looseObject({
  type: z.string(),
  single: z.array(z.looseObject({ SpecialToken: z.looseObject({ id: z.string() }).optional() })).optional(),
  special_tokens: z.record(z.string(), z.looseObject({ ids: z.array(z.int()) })).optional(),
})

const tokenizerJsonSchema = z.looseObject({
  added_tokens: z
    .array(addedTokenSchema)
    .nullish()
    .transform((tokens) => tokens ?? []),
  normalizer: z.unknown().optional(),
  pre_tokenizer: z
    .looseObject({ type: z.string(), add_prefix_space: z.boolean().optional(), use_regex: z.boolean().optional() })
    .nullish(),
  post_processor: processorSchema.extend({ processors: z.array(processorSchema).optional() }).nullish(),
  decoder: decoderSchema.nullish(),
  model: z.looseObject({
    type: z.string().optional(),
    /**
     * A map from tokens to ids, or for Unigram a list of [token, log probability]. It is large, so its entries are
     * checked on use.
     */
    vocab: z.custom<Record<string, number> | [string, number][]>(
      (vocab) => typeof vocab === 'object' && vocab !== null,
    ),
    /** Pairs of tokens, or in older files texts "left right". */
    merges: z.custom<(string | [string, string])[]>(Array.isArray).optional(),
    dropout: z.number().nullish(),
    ignore_merges: z.boolean().optional(),
    byte_fallback: z.boolean().optional(),
    continuing_subword_prefix: z.string().nullish(),
    end_of_word_suffix: z.string().nullish(),
  }),
})

export type TokenizerJson = z.output<typeof tokenizerJsonSchema>

/** The document separator of tokenizers that we make. */
const endOfTextToken = '<|endoftext|>'

/** Names of the document separator in common tokenizers, the least ambiguous first. */
const endOfTextNames = [
  endOfTextToken,
  '<|end_of_text|>',
  '<|endofdoc|>',
  '<eos>',
  '</s>',
  '<|im_end|>',
  '<|eot_id|>',
  '<｜end▁of▁sentence｜>',
  '[SEP]',
]

/** @throws UsageError naming `where` if the text is not a tokenizer.json */
export function parseTokenizerJson(text: string, where: string): TokenizerJson {
  let value: unknown
  try {
    value = parseJson(text)
  } catch (error) {
    throw new UsageError(`${where}: ${(error as Error).message} (expected a Hugging Face tokenizer.json)`)
  }
  const parsed = tokenizerJsonSchema.safeParse(value)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  throw new UsageError(
    `${where} is not a Hugging Face tokenizer.json: ${issue?.path.join('.') || 'its top level'}: ${issue && expectationOf(issue)}`,
  )
}

/** Largest accepted id, because ids index tables in memory. No tokenizer has nearly as many tokens. */
const MAX_ID = 2 ** 24 - 1

/**
 * All tokens with their ids, added tokens included.
 * @throws UsageError if an entry is not a token, or an id is out of range
 */
export function tokensOf(json: TokenizerJson, where: string): Map<string, number> {
  const { vocab } = json.model
  const entries: [unknown, unknown][] = Array.isArray(vocab)
    ? (vocab as unknown[]).map((entry, id) => [Array.isArray(entry) ? entry[0] : entry, id])
    : Object.entries(vocab)
  for (const { content, id } of json.added_tokens) entries.push([content, id])
  const tokens = new Map<string, number>()
  for (const [token, id] of entries) {
    if (typeof token !== 'string')
      throw new UsageError(`${where} is not a Hugging Face tokenizer.json: its vocabulary has ${formatValue(token)}`)
    if (!(typeof id === 'number' && Number.isInteger(id) && id >= 0 && id <= MAX_ID))
      throw new UsageError(
        `${where} is not a Hugging Face tokenizer.json: the id of ${formatValue(token)} is ${formatValue(id)}`,
      )
    tokens.set(token, id)
  }
  return tokens
}

/** Id of the document separator. @throws UsageError if no token has one of the usual names */
export function endOfTextId(tokens: ReadonlyMap<string, number>, where: string): number {
  for (const name of endOfTextNames) {
    const id = tokens.get(name)
    if (id !== undefined) return id
  }
  throw new UsageError(
    `${where} has no token that ends a document (looked for ${endOfTextNames.join(' ')}); add one of them to its added_tokens`,
  )
}

/**
 * Id of the token that the template of a tokenizer.json puts before a text; null if the template puts no token there,
 * undefined if there is no template.
 */
export function beginOfTextId({ post_processor: processor }: TokenizerJson): number | null | undefined {
  if (!processor) return undefined
  const template = [processor, ...(processor.processors ?? [])].find(({ type }) => type === 'TemplateProcessing')
  if (!template) return undefined
  const name = template.single?.[0]?.SpecialToken?.id
  const special = template.special_tokens ?? {}
  return name !== undefined && Object.hasOwn(special, name) ? (special[name]?.ids[0] ?? null) : null
}

/**
 * The tokenizer.json of a byte-level BPE. Ids 0 to 255 are the bytes, followed by the new tokens in the
 * order of the merges and the end of text. Without merges it is a byte tokenizer.
 */
export function byteLevelJson(merges: readonly (readonly [string, string])[]): string {
  // An object inherits names such as "constructor", which are words of program texts.
  const ids = new Map(byteCharacters.map((character, byte) => [character, byte]))
  for (const [left, right] of merges) if (!ids.has(left + right)) ids.set(left + right, ids.size)
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
  const endOfText = {
    id: ids.size,
    content: endOfTextToken,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }
  return JSON.stringify({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [endOfText],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(ids),
      merges,
    },
  })
}
