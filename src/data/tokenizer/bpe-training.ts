/**
 * Trains a byte-level BPE on the training documents.
 *
 * The Hugging Face trainer always makes 30,000 tokens. Merges are chosen greedily one by one, so the
 * first n of them are the BPE of n merges; the rest is dropped. The trainer runs in a separate process
 * because it would block the event loop, and its progress bar would draw over ours.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { finished } from 'node:stream/promises'
import { RunError, UsageError } from '../../errors.ts'
import { childEnvironment } from '../../system/child-environment.ts'
import { hashNumbers } from '../random.ts'
import type { Piece } from '../sources/documents.ts'
import { tokenizersPath } from './native-tokenizer.ts'
import { byteLevelJson } from './tokenizer-json.ts'

/** Approximate maximum of characters passed to the trainer; a larger corpus is sampled evenly. */
const SAMPLE_CHARACTERS = 1 << 26

export interface BpeTraining {
  /** The training documents. */
  readonly pieces: AsyncIterable<Piece>
  /** UTF-16 units of the corpus; determines the sampled share. */
  readonly characters: number
  readonly seed: number
  /** Number of tokens, including the bytes and the end of text. */
  readonly vocabulary: number
  /** A folder for temporary files. */
  readonly scratch: string
  readonly signal?: AbortSignal | undefined
  readonly warn: (message: string) => void
}

/** Returns a tokenizer.json. Warns if the text supports fewer tokens than `vocabulary`. */
export async function trainBpe(training: BpeTraining): Promise<string> {
  const { vocabulary, scratch, signal, warn } = training
  const fixed = 257
  if (vocabulary <= fixed)
    throw new UsageError(
      `model.vocabulary: ${vocabulary} is too small for a BPE, which starts from ${fixed} tokens (or use data.tokenizer.kind=bytes)`,
    )
  const sample = join(scratch, 'sample.txt')
  const trained = join(scratch, 'trained.json')
  await writeSample(training, sample)
  await runTrainer([tokenizersPath(), sample, trained], signal)
  const { model } = JSON.parse(await readFile(trained, 'utf8')) as { model: { merges: [string, string][] } }

  const kept: [string, string][] = []
  const newTokens = new Set<string>()
  for (const [left, right] of model.merges) {
    // Two merges may make the same token, which counts once.
    if (!newTokens.has(left + right) && newTokens.size === vocabulary - fixed) break
    newTokens.add(left + right)
    kept.push([left, right])
  }
  const tokens = newTokens.size + fixed
  if (tokens < vocabulary)
    warn(`the text supports ${tokens} tokens; ${vocabulary - tokens} of model.vocabulary ${vocabulary} stay unused`)
  return byteLevelJson(kept)
}

async function writeSample({ pieces, characters, seed }: BpeTraining, path: string): Promise<void> {
  const file = createWriteStream(path, { highWaterMark: 1 << 20 })
  const done = finished(file)
  const share = Math.min(1, SAMPLE_CHARACTERS / characters) * 2 ** 32
  let index = 0
  for await (const { text, last } of pieces) {
    if (hashNumbers(seed, index++) >= share) continue
    if (!file.write(last ? `${text}\n` : text)) await Promise.race([once(file, 'drain'), done])
  }
  file.end()
  await done
}

const trainerProgram = `
const [library, sample, trained] = process.argv.slice(1)
const { BPE, Tokenizer, byteLevelPreTokenizer } = require(library)
const tokenizer = new Tokenizer(BPE.empty())
tokenizer.setPreTokenizer(byteLevelPreTokenizer(false, true))
tokenizer.train([sample])
tokenizer.save(trained)
`

async function runTrainer(args: readonly string[], signal: AbortSignal | undefined): Promise<void> {
  const { NODE_OPTIONS: _, ...env } = childEnvironment()
  const child = spawn(process.execPath, ['--input-type=commonjs', '-e', trainerProgram, ...args], {
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
    windowsHide: true,
    ...(signal && { signal }),
  })
  let errors = ''
  child.stderr.on('data', (chunk) => {
    errors = (errors + chunk).slice(-2000)
  })
  const [code, killer] = await new Promise<[number | null, string | null]>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, killer) => resolve([code, killer]))
  })
  if (code !== 0)
    throw new RunError(`training the tokenizer failed (${killer ?? `exit code ${code}`}): ${errors.trim()}`)
}
