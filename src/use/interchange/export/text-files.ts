/** Files beside the weights that Hugging Face's libraries read: the tokenizer, and ids for generation. */
import type { Tokenizer } from '../../../train/data/tokenizer/tokenizer.ts'
import { beginOfTextId, parseTokenizerJson } from '../../../train/data/tokenizer/tokenizer-json.ts'
import { bytesFile, type OutputFile } from '../../../train/run/checkpoint/safetensors.ts'

/** A file with a value as JSON. */
export const jsonFile = (name: string, value: unknown): OutputFile =>
  textFile(name, `${JSON.stringify(value, null, 2)}\n`)

export const textFile = (name: string, text: string): OutputFile => bytesFile(name, new TextEncoder().encode(text))

/** Ids that begin and end a text, for config.json. */
export const specialIds = (tokenizer: Pick<Tokenizer, 'beginOfText' | 'endOfText'>) => ({
  bos_token_id: tokenizer.beginOfText,
  eos_token_id: tokenizer.endOfText,
})

/**
 * Id of the token that a tokenizer puts before a text; null if it puts no token there. A tokenizer without rules for
 * tokens around a text is one of Choir's own, and every document of a training follows an end-of-text token.
 */
export function beginningOf({ json, endOfText }: Pick<Tokenizer, 'json' | 'endOfText'>): number | null {
  const parsed = parseTokenizerJson(json, 'tokenizer.json')
  return parsed.post_processor ? beginOfTextId(parsed) : endOfText
}

/** tokenizer.json, tokenizer_config.json and generation_config.json. @param length Tokens of the longest text. */
export function tokenizerFiles(tokenizer: Tokenizer, length: number): OutputFile[] {
  const token = contentOf(tokenizer.json, tokenizer.endOfText)
  return [
    textFile('tokenizer.json', withBeginning(tokenizer.json, token, tokenizer.endOfText)),
    jsonFile('tokenizer_config.json', {
      tokenizer_class: 'PreTrainedTokenizerFast',
      bos_token: contentOf(tokenizer.json, specialIds(tokenizer).bos_token_id),
      eos_token: token,
      model_max_length: length,
      clean_up_tokenization_spaces: false,
    }),
    jsonFile('generation_config.json', {
      ...specialIds(tokenizer),
      pad_token_id: tokenizer.endOfText,
      do_sample: true,
      temperature: 0.8,
      top_k: 40,
      top_p: 0.95,
      max_length: length,
    }),
  ]
}

/**
 * A tokenizer.json that puts the end-of-text token before a text, as generation does here. A tokenizer with rules of
 * its own for tokens around a text keeps them.
 */
function withBeginning(json: string, token: string, id: number): string {
  const parsed = JSON.parse(json) as { post_processor?: unknown }
  if (parsed.post_processor) return json
  const special = { SpecialToken: { id: token, type_id: 0 } }
  const text = (sequence: 'A' | 'B', type: number) => ({ Sequence: { id: sequence, type_id: type } })
  const processor = {
    type: 'TemplateProcessing',
    single: [special, text('A', 0)],
    pair: [special, text('A', 0), text('B', 1)],
    special_tokens: { [token]: { id: token, ids: [id], tokens: [token] } },
  }
  return JSON.stringify({ ...parsed, post_processor: processor })
}

interface VocabularyJson {
  readonly added_tokens?: readonly { readonly id: number; readonly content: string }[]
  readonly model: { readonly vocab: Readonly<Record<string, number>> | readonly [string, number][] }
}

/** The text of a token in a tokenizer.json. */
function contentOf(json: string, id: number): string {
  const { added_tokens: added = [], model } = JSON.parse(json) as VocabularyJson
  const found =
    added.find((token) => token.id === id)?.content ??
    (Array.isArray(model.vocab)
      ? (model.vocab[id] as [string, number])[0]
      : Object.entries(model.vocab).find(([, other]) => other === id)?.[0])
  if (found === undefined) throw new Error(`internal: no token ${id} in the tokenizer`)
  return found
}
