/** The tokenizer in the metadata of a GGUF file, as a tokenizer.json, with the rules for texts. */
import { formatValue, listWithOr } from '../../../core/config/problems.ts'
import { UsageError } from '../../../core/errors.ts'
import { grouped } from '../../../core/text/numbers.ts'
import { MAX_TEMPLATE, type TextRules } from '../../../train/data/tokenizer/text-rules.ts'
import { endOfTextId } from '../../../train/data/tokenizer/tokenizer-json.ts'
import type { Metadata } from './metadata.ts'
import { type Words, wordsByName } from './words.ts'

/** Numbers of the kinds of tokens (`token_type`). */
const CONTROL = 3
const USER_DEFINED = 4
const UNUSED = 5

/** Keys of the tokens at each of which llama.cpp ends a text. */
const endKeys = ['eos_token_id', 'eot_token_id', 'eom_token_id']

/** Names of tokens in chat templates, and the keys of their ids. */
const specialKeys = { bos_token: 'bos_token_id', eos_token: 'eos_token_id', unk_token: 'unknown_token_id' } as const

export interface GgufTokenizer {
  /** tokenizer.json. */
  readonly json: string
  readonly rules: TextRules
}

/**
 * @param vocabulary Size of the model's vocabulary.
 * @throws UsageError naming the key of a tokenizer that is not such a BPE, or of a value that is wrong
 */
export function ggufTokenizerOf(path: string, metadata: Metadata, vocabulary: number): GgufTokenizer {
  const key = (rest: string) => `tokenizer.ggml.${rest}`
  const kind = metadata.text(key('model'))
  if (kind !== 'gpt2')
    metadata.refuse(
      key('model'),
      kind,
      '"gpt2", a byte-level BPE; use the folder of the model with its tokenizer.json for others',
    )
  const words = wordsOf(metadata, key('pre'))
  const tokens = metadata.texts(key('tokens'))
  const types = metadata.numbers(key('token_type'), [])
  if (tokens.length > vocabulary)
    throw new UsageError(`${path} has ${grouped(tokens.length)} tokens, and its model has ${grouped(vocabulary)}`)
  const idOf = (name: string): number | undefined => {
    const id = metadata.id(key(name))
    if (id !== undefined && id >= tokens.length)
      throw new UsageError(`${path}: invalid ${key(name)}: ${id} (expected an id below ${grouped(tokens.length)})`)
    return id
  }
  const ids = new Map<string, number>()
  const added: object[] = []
  for (const [id, token] of tokens.entries()) {
    const type = types[id]
    if (type === UNUSED) continue
    if (ids.has(token)) throw new UsageError(`${path}: ${key('tokens')} has ${formatValue(token)} twice`)
    ids.set(token, id)
    if (type === CONTROL || type === USER_DEFINED)
      added.push({ id, content: token, ...plainToken, special: type === CONTROL })
  }
  const texts = new Set(added.map((each) => (each as { content: string }).content))
  const json = JSON.stringify({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: words.steps.length === 1 ? words.steps[0] : { type: 'Sequence', pretokenizers: words.steps },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: words.ignoreMerges,
      vocab: Object.fromEntries([...ids].filter(([token]) => !texts.has(token))),
      merges: metadata.texts(key('merges'), []),
    },
  })
  const end = endKeys.map(idOf).filter((id) => id !== undefined)
  const begin = metadata.flag(key('add_bos_token'), words.addsBegin) ? idOf('bos_token_id') : null
  if (begin === undefined)
    throw new UsageError(`${path} lacks ${key('bos_token_id')}, the token that its texts begin with`)
  const special = Object.entries(specialKeys).flatMap(([name, rest]) => {
    const id = idOf(rest)
    return id === undefined ? [] : [[name, tokens[id] as string]]
  })
  return {
    json,
    rules: {
      begin,
      end: end.length > 0 ? [...new Set(end)] : [endOfTextId(ids, path)],
      specialTokens: Object.fromEntries(special),
      chatTemplate: templateOf(path, metadata),
    },
  }
}

const plainToken = { single_word: false, lstrip: false, rstrip: false, normalized: false }

function wordsOf(metadata: Metadata, key: string): Words {
  const name = metadata.text(key)
  const names = Object.keys(wordsByName)
  const words = Object.hasOwn(wordsByName, name) ? wordsByName[name] : undefined
  return words ?? metadata.refuse(key, name, listWithOr(names))
}

function templateOf(path: string, metadata: Metadata): string | null {
  const key = 'tokenizer.chat_template'
  if (!metadata.has(key)) return null
  const template = metadata.text(key)
  if (template.length <= MAX_TEMPLATE) return template
  throw new UsageError(
    `${path}: invalid ${key}: it has ${grouped(template.length)} characters (expected at most ${grouped(MAX_TEMPLATE)})`,
  )
}
