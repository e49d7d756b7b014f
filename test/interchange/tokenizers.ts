/**
 * Files of small models that have the shape of published ones: the same classes, processors and places of tokens. The
 * ids are small, and are written out in the tests.
 */
import type { Fields } from '../../src/core/config/fields.ts'
import { byteLevelJson } from '../../src/train/data/tokenizer/tokenizer-json.ts'
import { chatMl, mixtralTemplate } from '../../src/use/runs/chat/testing/templates.ts'

type Files = Readonly<Record<string, string | Fields>>

const json = (value: unknown): string => JSON.stringify(value)

/** Ids 0 to 255 are bytes, 256 is `<|endoftext|>`, and the special tokens follow. */
function ofBytes(special: readonly string[], fields: Fields): string {
  const base = JSON.parse(byteLevelJson([])) as { added_tokens: Fields[] }
  const added = special.map((content, i) => ({ ...base.added_tokens[0], id: 257 + i, content }))
  return json({ ...base, added_tokens: [...base.added_tokens, ...added], ...fields })
}

const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false }
const textAlone = [{ Sequence: { id: 'A', type_id: 0 } }]
const template = (special: string, id: number) => ({
  type: 'TemplateProcessing',
  single: [{ SpecialToken: { id: special, type_id: 0 } }, ...textAlone],
  pair: [...textAlone, { Sequence: { id: 'B', type_id: 1 } }],
  special_tokens: { [special]: { id: special, ids: [id], tokens: [special] } },
})

/** Qwen3-MoE: no begin token, although config.json names one. Chats end with `<|im_end|>` 258. */
export const qwen3Files: Files = {
  'tokenizer.json': ofBytes(['<|im_start|>', '<|im_end|>'], {
    normalizer: { type: 'NFC' },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: '\\s+|\\S+' }, behavior: 'Isolated', invert: false },
        byteLevel,
      ],
    },
    post_processor: byteLevel,
  }),
  'tokenizer_config.json': {
    tokenizer_class: 'Qwen2Tokenizer',
    add_bos_token: false,
    bos_token: null,
    eos_token: '<|im_end|>',
    pad_token: '<|endoftext|>',
    unk_token: null,
    chat_template: chatMl,
  },
  'generation_config.json': { bos_token_id: 256, eos_token_id: [258, 256], pad_token_id: 256, do_sample: true },
}
export const qwen3Keys = { bos_token_id: 256, eos_token_id: 258 }

/** OLMoE: a template that puts no token before a text, and one end token. */
export const olmoeFiles: Files = {
  'tokenizer.json': ofBytes([], {
    post_processor: { type: 'TemplateProcessing', single: textAlone, pair: textAlone, special_tokens: {} },
  }),
  'tokenizer_config.json': {
    tokenizer_class: 'GPTNeoXTokenizer',
    add_bos_token: false,
    add_eos_token: false,
    eos_token: '<|endoftext|>',
    pad_token: '<|padding|>',
  },
}
export const olmoeKeys = { bos_token_id: null, eos_token_id: 256, pad_token_id: 1 }

/** DeepSeekMoE: a class of Llama whose tokenizer.json has no template, so `add_bos_token` decides. */
export const deepseekFiles: Files = {
  'tokenizer.json': ofBytes(['<｜begin▁of▁sentence｜>', '<｜end▁of▁sentence｜>'], { post_processor: byteLevel }),
  'tokenizer_config.json': {
    tokenizer_class: 'LlamaTokenizerFast',
    add_bos_token: true,
    add_eos_token: false,
    bos_token: { __type: 'AddedToken', content: '<｜begin▁of▁sentence｜>', lstrip: false },
    eos_token: { __type: 'AddedToken', content: '<｜end▁of▁sentence｜>', lstrip: false },
  },
  'generation_config.json': { bos_token_id: 257, eos_token_id: 258 },
}
export const deepseekKeys = { bos_token_id: 257, eos_token_id: 258 }

/**
 * Mixtral: `<unk>` 0, `<s>` 1, `</s>` 2, then a token for each byte from 3 on, and `▁` 259, `H` 260, `i` 261. A space
 * is put before a text, and `▁` stands for a space.
 */
export const mixtralFiles: Files = {
  'tokenizer.json': json({
    version: '1.0',
    added_tokens: ['<unk>', '<s>', '</s>'].map((content, id) => ({
      id,
      content,
      special: true,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
    })),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '▁' },
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    },
    pre_tokenizer: null,
    post_processor: template('<s>', 1),
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: '<unk>',
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      vocab: Object.fromEntries(
        [
          '<unk>',
          '<s>',
          '</s>',
          ...Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`),
          '▁',
          'H',
          'i',
        ].map((token, id) => [token, id]),
      ),
      merges: [],
    },
  }),
  'tokenizer_config.json': {
    tokenizer_class: 'LlamaTokenizer',
    add_bos_token: true,
    add_eos_token: false,
    bos_token: '<s>',
    eos_token: '</s>',
    unk_token: '<unk>',
    chat_template: mixtralTemplate,
  },
  'generation_config.json': { bos_token_id: 1, eos_token_id: 2 },
}
export const mixtralKeys = { bos_token_id: 1, eos_token_id: 2 }
