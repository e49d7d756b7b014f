/** The tokenizer of a GGUF file: a byte-level BPE whose words are cut by a pattern that llama.cpp knows by name. */

import { option, UsageError, wording } from '../../../../core/errors.ts'
import type { Tokenizer } from '../../../../train/data/tokenizer/tokenizer.ts'
import { wordPatterns } from '../../../foreign/gguf/words.ts'
import type { GgufValue } from './file.ts'

/** GGUF's numbers of the kinds of tokens. */
const NORMAL = 1
const CONTROL = 3
const UNUSED = 5

/** Keys of end tokens, at each of which llama.cpp ends a text; the format has no place for a fourth. */
const endKeys = ['tokenizer.ggml.eos_token_id', 'tokenizer.ggml.eot_token_id', 'tokenizer.ggml.eom_token_id']

interface Json {
  readonly added_tokens?: readonly { readonly id: number; readonly content: string; readonly special?: boolean }[]
  readonly pre_tokenizer?: Step | null
  readonly model: {
    readonly type?: string
    readonly vocab: Readonly<Record<string, number>>
    readonly merges?: readonly (string | readonly [string, string])[]
    readonly byte_fallback?: boolean
  }
}

interface Step {
  readonly type: string
  readonly use_regex?: boolean
  readonly pretokenizers?: readonly Step[]
  readonly pattern?: { readonly Regex?: string }
}

/** The names that llama.cpp has for patterns. */
const patterns: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(wordPatterns).map(([name, pattern]) => [pattern, name]),
)

/** The metadata of a tokenizer. @throws UsageError if llama.cpp has no such tokenizer */
export function tokenizerMetadata(tokenizer: Tokenizer, vocabulary: number): Record<string, GgufValue> {
  const json = JSON.parse(tokenizer.json) as Json
  const pre = preTokenizerOf(json)
  const tokens = Array.from({ length: vocabulary }, (_, id) => `[PAD${id}]`)
  const types = new Array<number>(vocabulary).fill(UNUSED)
  const set = (id: number, token: string, type: number) => {
    if (id >= vocabulary) return
    tokens[id] = token
    types[id] = type
  }
  for (const [token, id] of Object.entries(json.model.vocab)) set(id, token, NORMAL)
  for (const { id, content } of json.added_tokens ?? []) set(id, content, CONTROL)
  const merges = (json.model.merges ?? []).map((merge) => (typeof merge === 'string' ? merge : merge.join(' ')))
  const { begin, end, chatTemplate } = tokenizer.rules
  const array = (of: 'string' | 'int32', value: readonly (string | number)[]): GgufValue => ({
    type: 'array',
    of,
    value,
  })
  const id = (value: number): GgufValue => ({ type: 'uint32', value })
  const text = (value: string): GgufValue => ({ type: 'string', value })
  return {
    'tokenizer.ggml.model': text('gpt2'),
    'tokenizer.ggml.pre': text(pre),
    'tokenizer.ggml.tokens': array('string', tokens),
    'tokenizer.ggml.token_type': array('int32', types),
    'tokenizer.ggml.merges': array('string', merges),
    'tokenizer.ggml.bos_token_id': id(begin ?? tokenizer.endOfText),
    'tokenizer.ggml.add_bos_token': { type: 'bool', value: begin !== null },
    ...Object.fromEntries(endKeys.flatMap((key, i) => (end[i] === undefined ? [] : [[key, id(end[i])]]))),
    ...(chatTemplate !== null && { 'tokenizer.chat_template': text(chatTemplate) }),
  }
}

/** The name of the pattern that cuts words. @throws UsageError if llama.cpp has no name for it */
function preTokenizerOf({ model, pre_tokenizer: step }: Json): string {
  if (model.type !== undefined && model.type !== 'BPE') throw refusal(`is a ${model.type}`)
  if (Array.isArray(model.vocab) || model.byte_fallback) throw refusal('is not a byte-level BPE')
  const steps = step?.type === 'Sequence' ? (step.pretokenizers ?? []) : step ? [step] : []
  const [first, second] = steps
  if (steps.length === 1 && first?.type === 'ByteLevel' && first.use_regex !== false) return 'gpt-2'
  const name = steps.length === 2 && first?.type === 'Split' ? patterns[first.pattern?.Regex ?? ''] : undefined
  if (name !== undefined && second?.type === 'ByteLevel') return name
  throw refusal('cuts words by a pattern that is not one of GPT-2, Llama 3 or Qwen2')
}

const refusal = (what: string): UsageError =>
  new UsageError(
    wording`cannot export as GGUF: the tokenizer ${what}, and this format names the pattern instead of holding it (use ${wording`${option('format', 'hf')} or ${option('format', 'onnx')}, whose tokenizer.json is the whole tokenizer)`}`,
  )
