/**
 * A small SentencePiece vocabulary, and a second tokenizer for it: the merges of a text by their definition, one at a time,
 * without ranks and without a tokenizer.json.
 */
const SPACE = '▁'
const corpus = [
  'the cat sat on the mat and then the other cat ran into the hall where the hats are',
  'a banana, an ananas and a bandana: ban nan ana',
  'der Hund und die Hündin liefen schnell über die grüne Wiese',
  'мама мыла раму, а папа читал газету в саду',
  '今日は良い天気ですね。今日も明日も良い日です',
  'if (x == 0) { return 1; }    else  {        return x * f(x - 1); }',
  'haha hahaha aaaa aaaaaaaa 1000000 2024 2025',
  '                ',
]

export interface Vocabulary {
  readonly tokens: readonly string[]
  readonly scores: readonly number[]
  /** GGUF's numbers of the kinds of tokens. */
  readonly types: readonly number[]
}

/** `<unk>`, `<s>`, `</s>`, the bytes, a token of the user's, and merges and characters of the corpus, as in Llama 2. */
export function smallVocabulary(merges = 300): Vocabulary {
  const texts = corpus.map((text) => [...`${SPACE}${text.replaceAll(' ', SPACE)}`])
  const characters = [...new Set(texts.flat())]
  const pieces: string[] = []
  while (pieces.length < merges) {
    const counts = new Map<string, number>()
    for (const text of texts)
      for (let i = 0; i + 1 < text.length; i++) {
        const piece = `${text[i]}${text[i + 1]}`
        // Words are not joined, but runs of spaces are.
        if (/[^▁]▁/.test(piece) || [...piece].length > 16) continue
        counts.set(piece, (counts.get(piece) ?? 0) + 1)
      }
    const best = [...counts].sort(([, a], [, b]) => b - a)[0]?.[0]
    if (best === undefined) break
    if (!pieces.includes(best)) pieces.push(best)
    for (const text of texts)
      for (let i = 0; i + 1 < text.length; i++) if (`${text[i]}${text[i + 1]}` === best) text.splice(i, 2, best)
  }
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`)
  const normal = [...pieces, ...characters]
  return {
    tokens: ['<unk>', '<s>', '</s>', ...bytes, '<|user|>', ...normal],
    scores: [0, 0, 0, ...bytes.map(() => 0), -1000, ...normal.map((_, i) => -i)],
    types: [2, 3, 3, ...bytes.map(() => 6), 4, ...normal.map(() => 1)],
  }
}

/** The metadata of a GGUF file with a vocabulary. */
export const sentencePieceMetadata = ({ tokens, scores, types }: Vocabulary) =>
  ({
    'tokenizer.ggml.model': { type: 'string', value: 'llama' },
    'tokenizer.ggml.tokens': { type: 'array', of: 'string', value: tokens },
    'tokenizer.ggml.scores': { type: 'array', of: 'float32', value: scores },
    'tokenizer.ggml.token_type': { type: 'array', of: 'int32', value: types },
  }) as const

/** Ids of a text without special tokens, by the definition of SentencePiece's BPE in llama.cpp. */
export function idsByDefinition({ tokens, scores, types }: Vocabulary, text: string, prefixed = true): number[] {
  const ids = new Map(tokens.map((token, id) => [token, id]))
  const scoreOf = new Map(tokens.flatMap((token, id) => (types[id] === 1 ? [[token, scores[id] as number]] : [])))
  const symbols = [...`${prefixed && text !== '' ? SPACE : ''}${text.replaceAll(' ', SPACE)}`]
  for (;;) {
    let best = -1
    let highest = Number.NEGATIVE_INFINITY
    for (let i = 0; i + 1 < symbols.length; i++) {
      const score = scoreOf.get(`${symbols[i]}${symbols[i + 1]}`)
      if (score !== undefined && score > highest) [best, highest] = [i, score]
    }
    if (best < 0) break
    symbols.splice(best, 2, `${symbols[best]}${symbols[best + 1]}`)
  }
  const byteOf = (byte: number) => 3 + byte
  return symbols.flatMap((symbol) => ids.get(symbol) ?? [...new TextEncoder().encode(symbol)].map(byteOf))
}

const alphabets = [
  'abcdehnot ',
  'the cat sat',
  '   ',
  'ан мрт',
  '今日天気です良い',
  '01(){}=;,.\n\t',
  '😀🎉é✓ü\u0301ß',
  'haa',
  '한العربית▁',
]

/** A random text of several scripts, with runs of spaces and characters that have no token. */
export function randomText(uniform: () => number): string {
  const length = Math.floor(40 * uniform() ** 2)
  let alphabet = alphabets[0] as string
  let text = ''
  for (let i = 0; i < length; i++) {
    if (uniform() < 0.2) alphabet = alphabets[Math.floor(alphabets.length * uniform())] as string
    const characters = [...alphabet]
    text += characters[Math.floor(characters.length * uniform())] as string
  }
  return text
}
