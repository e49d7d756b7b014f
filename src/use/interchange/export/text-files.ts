/** Files beside the weights that Hugging Face's libraries read: the tokenizer, and ids for generation. */
import type { Tokenizer } from '../../../train/data/tokenizer/tokenizer.ts'
import { beginOfTextId, parseTokenizerJson } from '../../../train/data/tokenizer/tokenizer-json.ts'
import { bytesFile, type OutputFile } from '../../../train/run/checkpoint/safetensors.ts'

/** A file with a value as JSON. */
export const jsonFile = (name: string, value: unknown): OutputFile =>
  textFile(name, `${JSON.stringify(value, null, 2)}\n`)

export const textFile = (name: string, text: string): OutputFile => bytesFile(name, new TextEncoder().encode(text))

/** Ids that begin and end a text, for config.json: several end tokens are a list. */
export const specialIds = ({ rules: { begin, end }, endOfText }: Pick<Tokenizer, 'rules' | 'endOfText'>) => ({
  bos_token_id: begin ?? endOfText,
  eos_token_id: end.length === 1 ? (end[0] as number) : end,
})

/** tokenizer.json, tokenizer_config.json and generation_config.json. @param length Tokens of the longest text. */
export function tokenizerFiles(tokenizer: Tokenizer, length: number): OutputFile[] {
  const { rules, endOfText } = tokenizer
  const { begin, end, specialTokens, chatTemplate } = rules
  const separator = tokenOf(tokenizer, endOfText)
  return [
    textFile('tokenizer.json', withBeginning(tokenizer)),
    jsonFile('tokenizer_config.json', {
      tokenizer_class: 'PreTrainedTokenizerFast',
      ...(begin !== null && { bos_token: tokenOf(tokenizer, begin) }),
      eos_token: tokenizer.tokenOf(end[0] as number) ?? separator,
      ...specialTokens,
      ...(chatTemplate !== null && { chat_template: chatTemplate }),
      model_max_length: length,
      clean_up_tokenization_spaces: false,
    }),
    jsonFile('generation_config.json', {
      ...specialIds(tokenizer),
      pad_token_id: endOfText,
      do_sample: true,
      temperature: 0.8,
      top_k: 40,
      top_p: 0.95,
      max_length: length,
    }),
  ]
}

/**
 * A tokenizer.json whose template puts the token before a text that generation puts there. A file that does so already
 * keeps its rules.
 */
function withBeginning(tokenizer: Tokenizer): string {
  const { json, rules } = tokenizer
  const { begin } = rules
  if ((beginOfTextId(parseTokenizerJson(json, 'tokenizer.json')) ?? null) === begin) return json
  const token = begin === null ? null : tokenOf(tokenizer, begin)
  const special = token === null ? [] : [{ SpecialToken: { id: token, type_id: 0 } }]
  const text = (sequence: 'A' | 'B', type: number) => ({ Sequence: { id: sequence, type_id: type } })
  const processor = {
    type: 'TemplateProcessing',
    single: [...special, text('A', 0)],
    pair: [...special, text('A', 0), text('B', 1)],
    special_tokens: token === null ? {} : { [token]: { id: token, ids: [begin], tokens: [token] } },
  }
  return JSON.stringify({ ...JSON.parse(json), post_processor: processor })
}

function tokenOf(tokenizer: Tokenizer, id: number): string {
  const token = tokenizer.tokenOf(id)
  if (token === undefined) throw new Error(`internal: no token ${id} in the tokenizer`)
  return token
}
