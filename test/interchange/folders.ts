/** Small random models as folders, with their logits and generated tokens by the witness and by Choir. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Fields } from '../../src/core/config/fields.ts'
import { byteLevelJson } from '../../src/train/data/tokenizer/tokenizer-json.ts'
import { Generator } from '../../src/use/infer/generation/generator.ts'
import { Prefill } from '../../src/use/infer/generation/prefill.ts'
import { tokenScratch } from '../../src/use/infer/generation/token-memory.ts'
import { loadModel } from '../../src/use/runs/trained-model.ts'
import type { Config, Vector } from './decoder.ts'
import { logitsOf } from './models.ts'
import { type StoredType, Weights } from './weights.ts'

export interface Written {
  readonly folder: string
  readonly config: Config
  readonly weights: Weights
  /** Logits [T, V] of {@link tokens} by the witness. */
  readonly logits: Vector[]
}

const tokens = [3, 17, 250, 3, 44, 120, 9, 61, 200, 7, 31, 18]

/** Size of a vocabulary of bytes, the end of text, and rows that no token has. */
const VOCABULARY = 264

export interface WriteOptions {
  readonly type?: StoredType
  readonly shards?: number
  /** Edits the tensors that are written. */
  readonly change?: Parameters<Weights['save']>[2]
  /** Keys that are written to config.json in place of the keys that the witness reads. */
  readonly keys?: Fields
  /** Other files, by name: text, or JSON. They may replace tokenizer.json. */
  readonly files?: Readonly<Record<string, string | Fields>>
}

/** Writes config.json, tokenizer.json and the weights that the witness asked for. */
export function writeFolder(
  folder: string,
  sample: Fields,
  { type = 'F32', shards, change, keys, files = {} }: WriteOptions = {},
): Written {
  const config = { ...sample, vocab_size: VOCABULARY } as unknown as Config
  const weights = new Weights(type)
  const logits = logitsOf(config, weights, tokens)
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, ...keys }, null, 2))
  writeFileSync(join(folder, 'tokenizer.json'), byteLevelJson([]))
  for (const [name, contents] of Object.entries(files))
    writeFileSync(join(folder, name), typeof contents === 'string' ? contents : JSON.stringify(contents))
  weights.save(folder, shards, change)
  return { folder, config, weights, logits }
}

/** Choir's logits [T, V] of the tokens, for every prefix. */
export async function choirLogits(run: string): Promise<Vector[]> {
  const model = await loadModel(run, { threads: 1 }, () => {})
  const prefill = new Prefill(model.runtime, model.config.model, model.store)
  try {
    const all: Vector[] = []
    for (let length = 1; length <= tokens.length; length++)
      all.push(Array.from(await prefill.run(tokens.slice(0, length), { choose: () => {} } as never)))
    return all
  } finally {
    prefill.release()
    await model.close()
  }
}

/** The most probable tokens after {@link tokens}, which Choir generates with kernels or with ONNX Runtime alone. */
export async function choirContinuation(run: string, length: number, kernels: boolean): Promise<number[]> {
  const model = await loadModel(run, { threads: 1 }, () => {}, kernels ? tokenScratch : undefined)
  const generator = new Generator(model.runtime, model.config.model, model.store)
  try {
    const made: number[] = []
    const greedy = { temperature: 0, topK: 0, topP: 1 }
    for await (const token of generator.tokens(tokens, VOCABULARY, greedy, 0)) if (made.push(token) === length) break
    return made
  } finally {
    generator.release()
    await model.close()
  }
}

/** The witness's continuation, and its smallest lead over a second best token, as a share of the largest logit. */
export function witnessContinuation({ config, weights }: Pick<Written, 'config' | 'weights'>, length: number) {
  const text = [...tokens]
  let margin = Number.POSITIVE_INFINITY
  for (let i = 0; i < length; i++) {
    const row = logitsOf(config, weights, text).at(-1) as Vector
    const [best = 0, second = 0] = [...row].sort((a, b) => b - a)
    margin = Math.min(margin, (best - second) / Math.max(...row.map(Math.abs)))
    text.push(row.indexOf(best))
  }
  return { made: text.slice(tokens.length), margin }
}

/** Largest difference of two lists of logits, as a share of the largest logit. */
export function relativeDifference(a: readonly Vector[], b: readonly Vector[]): number {
  const largest = Math.max(...b.flat().map(Math.abs))
  return Math.max(...a.flatMap((row, t) => row.map((value, i) => Math.abs(value - (b[t]?.[i] as number))))) / largest
}
