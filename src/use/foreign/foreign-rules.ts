/**
 * Reads the rules for texts of a model of another library: which tokens begin and end a text, and the chat template.
 * They are what transformers does with the folder; docs/import-and-export.md has the sources.
 */
import { join } from 'node:path'
import { type Fields, isFields } from '../../core/config/fields.ts'
import { formatValue } from '../../core/config/problems.ts'
import { RunError, UsageError } from '../../core/errors.ts'
import { parseJson } from '../../core/text/json.ts'
import { grouped } from '../../core/text/numbers.ts'
import { errorCode } from '../../node/system/disk.ts'
import { CONFIG_BYTES, readText } from '../../node/system/read-text.ts'
import { MAX_TEMPLATE, type TextRules } from '../../train/data/tokenizer/text-rules.ts'
import { beginOfTextId, endOfTextId, parseTokenizerJson, tokensOf } from '../../train/data/tokenizer/tokenizer-json.ts'

export interface ForeignRules {
  readonly rules: TextRules
  /** Contradictions of the files, as sentences. */
  readonly notices: readonly string[]
}

/** Classes of transformers 4 that make the template of a tokenizer themselves, by `add_bos_token`, by default true. */
const makesTemplate: ReadonlySet<unknown> = new Set(
  ['Llama', 'CodeLlama', 'Gemma', 'Cohere'].flatMap((name) => [`${name}Tokenizer`, `${name}TokenizerFast`]),
)

const specialNames = ['bos_token', 'eos_token', 'unk_token', 'pad_token', 'sep_token', 'cls_token', 'mask_token']

/**
 * @param config Contents of config.json.
 * @param json Text of tokenizer.json.
 * @param vocabulary Size of the model's vocabulary.
 * @throws UsageError naming the file and the field of a value that is wrong; RunError if a file is not JSON
 */
export async function readForeignRules(
  folder: string,
  config: Fields,
  json: string,
  vocabulary: number,
): Promise<ForeignRules> {
  const where = join(folder, 'tokenizer.json')
  const parsed = parseTokenizerJson(json, where)
  const tokens = tokensOf(parsed, where)
  const tokenizerConfig = await readFields(folder, TOKENIZER_CONFIG)
  // A tokenizer_config.json of older versions has no added_tokens_decoder; then this file holds, as in transformers.
  const hasTokens = tokenizerConfig.added_tokens_decoder !== undefined
  const older = hasTokens ? {} : specialTokensOf(SPECIAL_TOKENS, await readFields(folder, SPECIAL_TOKENS))
  const specialTokens = { ...specialTokensOf(TOKENIZER_CONFIG, tokenizerConfig), ...older }
  const idOf = (name: string): number | undefined => {
    const token = specialTokens[name]
    if (token === undefined) return undefined
    const id = tokens.get(token)
    if (id === undefined)
      throw invalid(name in older ? SPECIAL_TOKENS : TOKENIZER_CONFIG, name, token, 'a token of tokenizer.json')
    return id
  }
  const ids = (file: string, fields: Fields, key: string) => idsAt(file, fields, key, vocabulary)
  const bos = ids('config.json', config, 'bos_token_id')
  const ofConfig = ids('config.json', config, 'eos_token_id')
  const ofGeneration = ids(GENERATION_CONFIG, await readFields(folder, GENERATION_CONFIG), 'eos_token_id')
  const end = [ofGeneration, ofConfig].find(({ length }) => length > 0)
  const ofTemplate = beginOfTextId(parsed)
  const adds = addsBos(tokenizerConfig)
  const begin = ofTemplate !== undefined ? ofTemplate : adds ? (idOf('bos_token') ?? bos[0] ?? null) : null
  const isContradicted = ofTemplate !== undefined && adds !== undefined && adds !== (ofTemplate !== null)
  return {
    rules: {
      begin,
      end: end ?? [idOf('eos_token') ?? endOfTextId(tokens, where)],
      specialTokens,
      chatTemplate: await chatTemplateOf(folder, tokenizerConfig),
    },
    notices: isContradicted
      ? [
          `${TOKENIZER_CONFIG} has add_bos_token ${adds}, but the template of tokenizer.json puts ` +
            `${begin === null ? 'no token' : 'a token'} before a text: the template holds, as in transformers 5`,
        ]
      : [],
  }
}

const TOKENIZER_CONFIG = 'tokenizer_config.json'
const SPECIAL_TOKENS = 'special_tokens_map.json'
const GENERATION_CONFIG = 'generation_config.json'

const invalid = (file: string, key: string, value: unknown, expected: string): UsageError =>
  new UsageError(`${file}: invalid ${key}: ${formatValue(value)} (expected ${expected})`)

/** The fields of a JSON file; empty if there is no such file. */
async function readFields(folder: string, name: string): Promise<Fields> {
  const text = await readOptional(folder, name)
  if (text === undefined) return {}
  let value: unknown
  try {
    value = parseJson(text)
  } catch (error) {
    throw new RunError(`cannot read ${join(folder, name)}: ${(error as Error).message}`)
  }
  if (isFields(value)) return value
  throw new RunError(`cannot read ${join(folder, name)}: it is not a JSON object`)
}

async function readOptional(folder: string, name: string): Promise<string | undefined> {
  const path = join(folder, name)
  return readText(path, CONFIG_BYTES).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return undefined
    throw new RunError(`cannot read ${path}: ${(error as Error).message}`)
  })
}

/** Token ids at a key, which is an id or a list; empty if the key is absent or null. */
function idsAt(file: string, fields: Fields, key: string, vocabulary: number): number[] {
  const value = fields[key] ?? []
  const ids: unknown[] = Array.isArray(value) ? value : [value]
  for (const id of ids) {
    if (!Number.isSafeInteger(id) || (id as number) < 0)
      throw invalid(file, key, value, 'the id of a token, or a list of ids')
    if ((id as number) >= vocabulary)
      throw invalid(file, key, id, `an id below ${grouped(vocabulary)}, the vocabulary of the model`)
  }
  return [...new Set(ids as number[])]
}

/** Whether the class of the tokenizer puts its begin token before a text; undefined if another rule decides. */
function addsBos({ add_bos_token: given, tokenizer_class: name }: Fields): boolean | undefined {
  if (typeof (given ?? false) !== 'boolean') throw invalid(TOKENIZER_CONFIG, 'add_bos_token', given, 'true or false')
  return makesTemplate.has(name) ? ((given ?? true) as boolean) : undefined
}

/** Special tokens, which are texts or objects with the text as `content`. */
function specialTokensOf(file: string, fields: Fields): Record<string, string> {
  const found: Record<string, string> = {}
  for (const name of specialNames) {
    const value = fields[name] ?? undefined
    if (value === undefined) continue
    const token = isFields(value) ? value.content : value
    if (typeof token !== 'string' || token === '')
      throw invalid(file, name, value, 'a token, or an object with its content')
    found[name] = token
  }
  return found
}

/** The file chat_template.jinja, else `chat_template` of tokenizer_config.json: a text, or a list with names. */
async function chatTemplateOf(folder: string, { chat_template: given }: Fields): Promise<string | null> {
  const file = await readOptional(folder, 'chat_template.jinja')
  const fromList = Array.isArray(given)
    ? given.find((entry: unknown) => isFields(entry) && entry.name === 'default')?.template
    : given
  const template = file ?? fromList ?? null
  if (template === null) return null
  const source = file === undefined ? `${TOKENIZER_CONFIG}: invalid chat_template` : 'invalid chat_template.jinja'
  if (typeof template !== 'string') throw new UsageError(`${source}: ${formatValue(template)} (expected text)`)
  if (template.length > MAX_TEMPLATE)
    throw new UsageError(
      `${source}: it has ${grouped(template.length)} characters (expected at most ${grouped(MAX_TEMPLATE)})`,
    )
  return template
}
