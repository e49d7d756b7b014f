/** The tokenizer in the metadata of a GGUF file, as a tokenizer.json, with the rules for texts. */
import { formatValue, listWithOr } from '../../../core/config/problems.ts'
import { UsageError } from '../../../core/errors.ts'
import { grouped } from '../../../core/text/numbers.ts'
import { MAX_TEMPLATE, type TextRules } from '../../../train/data/tokenizer/text-rules.ts'
import { endOfTextId } from '../../../train/data/tokenizer/tokenizer-json.ts'
import type { Metadata } from './metadata.ts'
import { type Pieces, sentencePieceIds, sentencePieceParts } from './sentencepiece.ts'
import { type Words, wordsByName } from './words.ts'

/** Numbers of the kinds of tokens (`token_type`). */
const UNKNOWN = 2
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
 * @throws UsageError naming the key of a tokenizer that is neither such a BPE nor SentencePiece's, or of a wrong value
 */
export function ggufTokenizerOf(path: string, metadata: Metadata, vocabulary: number): GgufTokenizer {
  const kind = metadata.text(key('model'))
  if (kind !== 'gpt2' && kind !== 'llama')
    metadata.refuse(
      key('model'),
      kind,
      '"gpt2", a byte-level BPE, and "llama", the BPE of SentencePiece; use the folder of the model with its ' +
        'tokenizer.json for others',
    )
  const pieces = piecesOf(path, metadata)
  const { tokens, ids, special } = pieces
  if (tokens.length > vocabulary)
    throw new UsageError(`${path} has ${grouped(tokens.length)} tokens, and its model has ${grouped(vocabulary)}`)
  const { parts, addsBegin, defaultIds } = kind === 'llama' ? sentencePiece(pieces, metadata) : byteLevel(metadata)
  const json = JSON.stringify({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [...pieces.added].map((content) => ({
      id: ids.get(content),
      content,
      ...plainToken,
      special: special.has(content),
    })),
    normalizer: parts.normalizer,
    pre_tokenizer: parts.preTokenizer,
    post_processor: null,
    decoder: parts.decoder,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      vocab: Object.fromEntries(ids),
      ...parts.model,
    },
  })
  const idOf = (name: string): number | undefined => {
    const id = metadata.id(key(name)) ?? defaultIds[name]
    if (id !== undefined && id >= tokens.length)
      throw new UsageError(`${path}: invalid ${key(name)}: ${id} (expected an id below ${grouped(tokens.length)})`)
    return id
  }
  const end = endKeys.map(idOf).filter((id) => id !== undefined)
  const begin = metadata.flag(key('add_bos_token'), addsBegin) ? idOf('bos_token_id') : null
  if (begin === undefined)
    throw new UsageError(`${path} lacks ${key('bos_token_id')}, the token that its texts begin with`)
  const named = Object.entries(specialKeys).flatMap(([name, rest]) => {
    const id = idOf(rest)
    return id === undefined ? [] : [[name, tokens[id] as string]]
  })
  return {
    json,
    rules: {
      begin,
      end: end.length > 0 ? [...new Set(end)] : [endOfTextId(ids, path)],
      specialTokens: Object.fromEntries(named),
      chatTemplate: templateOf(path, metadata),
    },
  }
}

const key = (rest: string): string => `tokenizer.ggml.${rest}`

function piecesOf(path: string, metadata: Metadata): Pieces & { readonly special: ReadonlySet<string> } {
  const tokens = metadata.texts(key('tokens'))
  const types = metadata.numbers(key('token_type'), [])
  if (types.length > 0 && types.length !== tokens.length)
    throw new UsageError(
      `${path}: ${key('token_type')} has ${grouped(types.length)} numbers for ${grouped(tokens.length)} tokens`,
    )
  const ids = new Map<string, number>()
  const added = new Set<string>()
  const special = new Set<string>()
  for (const [id, token] of tokens.entries()) {
    const type = types[id]
    if (type === UNUSED) continue
    if (ids.has(token)) throw new UsageError(`${path}: ${key('tokens')} has ${formatValue(token)} twice`)
    ids.set(token, id)
    if (type === CONTROL || type === UNKNOWN) special.add(token)
    if (type === USER_DEFINED || special.has(token)) added.add(token)
  }
  return { path, tokens, ids, added, special }
}

interface Kind {
  readonly parts: {
    readonly normalizer: object | null
    readonly preTokenizer: object | null
    readonly decoder: object
    readonly model: object
  }
  /** Whether a text begins with the begin token if the metadata do not say. */
  readonly addsBegin: boolean
  /** Ids of tokens that the metadata do not name. */
  readonly defaultIds: Readonly<Record<string, number>>
}

const sentencePiece = (pieces: Pieces, metadata: Metadata): Kind => ({
  parts: sentencePieceParts(pieces, metadata),
  addsBegin: true,
  defaultIds: sentencePieceIds,
})

function byteLevel(metadata: Metadata): Kind {
  const { steps, ignoreMerges, addsBegin } = wordsOf(metadata, key('pre'))
  const merges = metadata.texts(key('merges'), [])
  return {
    parts: {
      normalizer: null,
      preTokenizer: steps.length === 1 ? (steps[0] as object) : { type: 'Sequence', pretokenizers: steps },
      decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
      model: { byte_fallback: false, ignore_merges: ignoreMerges, merges },
    },
    addsBegin,
    defaultIds: {},
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
