/**
 * Patterns that cut a text into words before the merges of a byte-level BPE. A GGUF file has only their name in llama.cpp
 * (`tokenizer.ggml.pre`, llama-vocab.cpp), and a tokenizer.json has the pattern.
 */

interface Step {
  readonly type: string
  readonly [field: string]: unknown
}

export interface Words {
  /** The steps of a `pre_tokenizer`. */
  readonly steps: readonly Step[]
  /** Whether a word that is a token is taken as it is, without merges. */
  readonly ignoreMerges: boolean
  /** Whether a text begins with the begin token if the metadata do not say. */
  readonly addsBegin: boolean
}

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
const rest = '| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+'

/** Patterns of Llama 3 and Qwen2, by their names. */
export const wordPatterns: Readonly<Record<string, string>> = {
  'llama-bpe': `${contractions}\\p{N}{1,3}${rest}`,
  qwen2: `${contractions}\\p{N}${rest}`,
}

const byteLevel = (usesRegex: boolean): Step => ({
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: usesRegex,
})

const split = (name: string): readonly Step[] => [
  { type: 'Split', pattern: { Regex: wordPatterns[name] }, behavior: 'Isolated', invert: false },
  byteLevel(false),
]

const plain = { ignoreMerges: false, addsBegin: false }
const gpt2: Words = { steps: [byteLevel(true)], ...plain }
const llama3: Words = { steps: split('llama-bpe'), ignoreMerges: true, addsBegin: true }
/** The pattern of GPT-2, after each digit is cut off. */
const digits: Words = { steps: [{ type: 'Digits', individual_digits: true }, byteLevel(true)], ...plain }

/** The patterns by their names in llama.cpp. */
export const wordsByName: Readonly<Record<string, Words>> = {
  'gpt-2': gpt2,
  olmo: gpt2,
  'llama-bpe': llama3,
  llama3,
  'llama-v3': llama3,
  qwen2: { steps: split('qwen2'), ...plain },
  refact: digits,
  starcoder: digits,
  smollm: digits,
}
