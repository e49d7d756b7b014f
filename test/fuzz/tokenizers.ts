/** Tokenizers of every kind that tokenizer.json can hold, from which tests make changed ones. */
import { byteLevelJson } from '../../src/train/data/tokenizer/tokenizer-json.ts'

const end = {
  id: 0,
  content: '</s>',
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
}
const common = { version: '1.0', truncation: null, padding: null, added_tokens: [end], post_processor: null }
const metaspace = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: false }

/** Contents of tokenizer.json by kind. */
export const tokenizers: Readonly<Record<string, object>> = {
  bytes: JSON.parse(
    byteLevelJson([
      ['t', 'h'],
      ['th', 'e'],
      ['a', 'a'],
      ['aa', 'aa'],
    ]),
  ) as object,
  /** The kind of Llama 2, for which a whole text is one word. */
  llama: {
    ...common,
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '▁' },
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    },
    pre_tokenizer: null,
    decoder: metaspace,
    model: {
      type: 'BPE',
      unk_token: '<unk>',
      fuse_unk: true,
      byte_fallback: true,
      vocab: { '</s>': 0, '<unk>': 1, a: 2, aa: 3, aaaa: 4, '▁': 5, h: 6, e: 7, he: 8, '<0x61>': 9 },
      merges: [
        ['a', 'a'],
        ['aa', 'aa'],
        ['h', 'e'],
      ],
    },
  },
  unigram: {
    ...common,
    normalizer: null,
    pre_tokenizer: metaspace,
    decoder: metaspace,
    model: {
      type: 'Unigram',
      unk_id: 1,
      byte_fallback: false,
      vocab: [
        ['</s>', 0],
        ['<unk>', 0],
        ['a', -1],
        ['aa', -1.5],
        ['▁', -2],
        ['h', -3],
      ],
    },
  },
  wordPiece: {
    ...common,
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '<unk>',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: { '</s>': 0, '<unk>': 1, a: 2, '##a': 3 },
    },
  },
}
