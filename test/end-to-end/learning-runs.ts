/** Texts that a small model learns in seconds, and runs that have learned them, for tests. */
import { writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect } from 'vitest'
import { presets } from '../../src/core/config/presets.ts'
import { type RunConfig, type RunInput, runSchema } from '../../src/core/config/run-config.ts'
import { randomFor } from '../../src/core/random.ts'
import { train } from '../../src/node/train/train.ts'
import { generate } from '../../src/use/runs/generate.ts'
import { expectSuccess, Workspace } from './support.ts'

const LETTERS = 'abcdefgh'
const LENGTH = 500
const SENTENCE = 'The quick brown fox jumps over the lazy dog. '

/** A Markov chain: a fair coin decides which of two letters follows, i → 2i or 2i + 1 (mod 8). */
function chain(index: number): string {
  const random = randomFor(index, 'chain')
  let [letter, text] = [random.integer(8), '']
  for (let i = 0; i < LENGTH; i++) {
    text += LETTERS[letter]
    letter = (2 * letter + random.integer(2)) % 8
  }
  return text
}

const schedule = { learningRate: 1e-2, warmup: 10 }

type Moe = NonNullable<RunInput['model']>['moe']

/** The workspace of a test file, with both texts and a run that has memorised the sentence. */
export function learning() {
  let workspace: Workspace
  let memorised: string

  function documents(name: string, count: number, text: (index: number) => string): void {
    const lines = Array.from({ length: count }, (_, i) => JSON.stringify({ text: text(i) }))
    writeFileSync(workspace.file(`${name}.jsonl`), `${lines.join('\n')}\n`)
  }

  const dataOf = (name: string) => ({ source: workspace.file(`${name}.jsonl`) })

  /** A complete configuration for training in this process. */
  function configOf(over: RunInput): RunConfig {
    const { preset, ...input } = workspace.input(over)
    const base = presets[preset].config
    return runSchema.parse({
      ...input,
      model: {
        ...base.model,
        ...input.model,
        moe: input.model?.moe === null ? null : { ...base.model.moe, ...input.model?.moe },
      },
      train: { ...base.train, ...input.train },
    })
  }

  beforeAll(async () => {
    workspace = new Workspace()
    documents('chain', 60, chain)
    // Each rotation of the sentence is one document: no two are equal, so the held-out split keeps its share.
    documents('fox', SENTENCE.length, (i) => SENTENCE.repeat(12).slice(i, i + 450))
    memorised = workspace.file('memorised')
    const config = workspace.config({
      data: dataOf('fox'),
      train: { steps: 120, batch: 8, evalEvery: 60, evalBatches: 0, schedule },
    })
    await expectSuccess(workspace.start('train', config, '--out', memorised, '--json'))
  }, 20_000)
  afterAll(() => workspace.remove())

  return {
    workspace: () => workspace,
    memorised: () => memorised,
    documents,
    dataOf,
    configOf,
    /** Trains a model on the chain, and requires that it has learned the rule. @returns The run. */
    async learnChain(name: string, moe: Moe): Promise<string> {
      const config = configOf({
        model: { vocabulary: 257, moe },
        data: dataOf('chain'),
        train: { steps: 100, batch: 8, evalEvery: 100, evalBatches: 0, schedule },
      })
      const directory = workspace.file(`chain ${name}`)
      const { evaluation } = await train(config, { directory, resume: false })
      const loss = evaluation?.loss as number
      // All eight letters are equally frequent, so a model without context has a loss of ln 8 = 2.08 nats a letter.
      // With the rule, the loss is ln 2 = 0.69 (and about ln 500 at the end of each text, 0.02 a letter). Training must
      // reach half of that improvement. A loss below ln 2 means that the model sees the letter that it predicts.
      expect(loss).toBeLessThan((Math.log(8) + Math.log(2)) / 2)
      expect(loss).toBeGreaterThan(Math.log(2) * 0.98)
      return directory
    },
    async expectVerbatim(weights: string): Promise<void> {
      const prompt = SENTENCE.slice(0, 20)
      const options = ['--tokens', '80', '--temperature', '0', '--weights', weights]
      const { stdout } = await expectSuccess(workspace.start('generate', memorised, '--prompt', prompt, ...options))
      expect(stdout).toBe(`${SENTENCE.repeat(3).slice(0, 100)}\n`)
    },
  }
}

export const sampled = { prompt: 'The', tokens: 40, temperature: 2, topK: 0, topP: 1 }

export async function generatedPieces(run: string, seed: number): Promise<string[]> {
  const found: string[] = []
  for await (const piece of generate(run, { ...sampled, seed })) found.push(piece)
  return found
}

/** Requires that a seed gives a text again, and another seed another one. */
export async function expectSeeded(run: string): Promise<void> {
  const text = (await generatedPieces(run, 3)).join('')
  expect((await generatedPieces(run, 3)).join('')).toBe(text)
  expect((await generatedPieces(run, 4)).join('')).not.toBe(text)
}
