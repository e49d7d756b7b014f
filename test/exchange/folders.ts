/** Small random models as folders, and what the witness and Choir compute of them. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Fields } from '../../src/config/fields.ts'
import { byteLevelJson } from '../../src/data/tokenizer/tokenizer-json.ts'
import { Prefill } from '../../src/infer/generation/prefill.ts'
import { loadModel } from '../../src/infer/trained-model.ts'
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

/** A vocabulary of bytes, the end of text, and rows that no token has. */
const VOCABULARY = 264

export interface WriteOptions {
  readonly type?: StoredType
  readonly shards?: number
  /** Edits the tensors that are written. */
  readonly change?: Parameters<Weights['save']>[2]
  /** Keys of config.json in place of those that the witness reads. */
  readonly keys?: Fields
}

/** Writes config.json, tokenizer.json and the weights that the witness asked for. */
export function writeFolder(
  folder: string,
  sample: Fields,
  { type = 'F32', shards, change, keys }: WriteOptions = {},
): Written {
  const config = { ...sample, vocab_size: VOCABULARY } as unknown as Config
  const weights = new Weights(type)
  const logits = logitsOf(config, weights, tokens)
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, ...keys }, null, 2))
  writeFileSync(join(folder, 'tokenizer.json'), byteLevelJson([]))
  weights.save(folder, shards, change)
  return { folder, config, weights, logits }
}

/** Choir's logits [T, V] of the tokens, for every prefix. */
export async function choirLogits(run: string): Promise<Vector[]> {
  const model = await loadModel(run, { threads: 1 }, () => {})
  const prefill = new Prefill(model.runtime, model.config.model, model.store, null)
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

/** Largest difference of two lists of logits, as a share of the largest logit. */
export function relativeDifference(a: readonly Vector[], b: readonly Vector[]): number {
  const largest = Math.max(...b.flat().map(Math.abs))
  return Math.max(...a.flatMap((row, t) => row.map((value, i) => Math.abs(value - (b[t]?.[i] as number))))) / largest
}
