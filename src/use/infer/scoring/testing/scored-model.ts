/** Small models with random weights, their scores, and the same numbers by the programs of generation. */
import { expect } from 'vitest'
import { type RunInput, runSchema } from '../../../../core/config/run-config.ts'
import { parameterSpecs } from '../../../../core/model/parameters.ts'
import { randomFor } from '../../../../core/random.ts'
import { changeRange } from '../../../../engine/contract/arena.ts'
import type { Runtime } from '../../../../engine/contract/runtime.ts'
import { bytesTokenizer, type Tokenizer } from '../../../../train/data/tokenizer/tokenizer.ts'
import { generationConfig } from '../../../../train/step/evaluation/capacity-rules.ts'
import { ParameterStore } from '../../../../train/step/store/store.ts'
import { ContextDecoder } from '../../generation/context-decoder.ts'
import { PredeterminedExperts } from '../../generation/predetermined-experts.ts'
import { Prefill } from '../../generation/prefill.ts'
import { TokenDecoder } from '../../generation/token-decoder.ts'
import { tokenScratch, wholeContexts } from '../../generation/token-memory.ts'
import { TokenProgram } from '../../generation/token-program.ts'
import type { LiveModel } from '../../live-model.ts'
import { type Scorable, scorable } from '../scorable.ts'
import { type ScoreOptions, scoreItems, type TextScore } from '../score.ts'
import { Scorer } from '../scorer.ts'

export const SEQUENCE = 16
export const VOCABULARY = 264
export const bytes = bytesTokenizer()

/** A text that fits into the context, with the token that begins it. */
export const TEXT = 'Fifteen bytes..'
export const LONG = 'A text of more bytes than the context has places, so windows slide over it.'

type Model = Omit<LiveModel, 'step'>
export type Moe = NonNullable<NonNullable<RunInput['model']>['moe']>

export interface Asked {
  readonly moe?: Moe | null
  readonly tokenizer?: Tokenizer
  /** Size of the weights; default: logits differ by several nats. */
  readonly scale?: number
  readonly crossDocuments?: boolean
  /** Number of sequences of a training pass, which limits the tokens of a scoring pass. */
  readonly batch?: number
  /** Length of the context. */
  readonly sequence?: number
}

/** A model with random weights that are the same on every runtime. */
export async function scoredModel(
  runtime: Runtime,
  { moe = { k: 2 }, tokenizer = bytes, scale = 1, crossDocuments = true, batch = 6, sequence = SEQUENCE }: Asked = {},
): Promise<Model> {
  const config = runSchema.parse({
    model: {
      ...{ vocabulary: VOCABULARY, layers: 2, width: 16, heads: 2, sequence },
      moe: moe && { experts: 4, hidden: 16, ...moe },
    },
    data: { crossDocuments },
    train: { batch, seed: 3 },
  })
  const store = new ParameterStore(
    runtime,
    parameterSpecs(config.model),
    null,
    tokenScratch(generationConfig(config.model)),
  )
  const random = randomFor(7, 'weights')
  for (const { name } of store.specs)
    await changeRange(store.parameter(name), (values) => {
      for (let i = 0; i < values.length; i++) values[i] = scale * (2 * random.uniform() - 1)
    })
  return { runtime, config, tokenizer, store }
}

export async function score(model: Model, items: readonly Scorable[], options: ScoreOptions = {}) {
  const scorer = new Scorer(model)
  try {
    return await scoreItems(
      scorer,
      items.map((item, i) => scorable(item, `texts[${i}]`)),
      options,
    )
  } finally {
    scorer.release()
  }
}

export const textScore = async (model: Model, text: string, options: ScoreOptions = {}) =>
  (await score(model, [text], options))[0] as TextScore

export const values = ({ tokens }: TextScore): (number | null)[] => tokens.map(({ logProbability }) => logProbability)

export function expectNear(
  found: readonly (number | null)[],
  expected: readonly (number | null)[],
  tolerance = 2e-5,
): void {
  expect(found).toHaveLength(expected.length)
  for (const [i, value] of found.entries()) {
    const wanted = expected[i] as number | null
    if (wanted === null || value === null) expect(value).toBe(wanted)
    else expect(Math.abs(value - wanted), `token ${i}: ${value}, not ${wanted}`).toBeLessThan(tolerance)
  }
}

/**
 * The log-probability of each of `ids` from the second on by the programs of generation, which compute token after
 * token, whether it is the largest, and the token with the largest. `offset` is the position of the first id in its text.
 */
export async function bySteps({ runtime, config, store }: Model, ids: readonly number[], offset = 0) {
  const model = generationConfig(config.model)
  const program = new TokenProgram(runtime, model, store)
  const prefill = new Prefill(runtime, model, store)
  const decoder = TokenDecoder.open(program, wholeContexts(model, 1))
  const pages = Array.from({ length: decoder?.cache.pages ?? 0 }, (_, page) => page)
  const uncached = new ContextDecoder(prefill)
  const experts = new PredeterminedExperts(model, config.train.seed)
  experts.offset = offset
  const found: { readonly logProbability: number; readonly greedy: boolean; readonly likeliest: number }[] = []
  for (const [t, id] of ids.slice(0, -1).entries()) {
    const logits: number[] = []
    const next = { pages, token: id, position: t, experts }
    if (decoder) await decoder.step([next], (_, result) => logits.push(...result.logits))
    else logits.push(...(await uncached.step(id, t, experts)))
    const largest = Math.max(...logits)
    const target = logits[ids[t + 1] as number] as number
    const mass = logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0)
    const logProbability = target - largest - Math.log(mass)
    found.push({ logProbability, greedy: target === largest, likeliest: logits.indexOf(largest) })
  }
  decoder?.release()
  program.release()
  prefill.release()
  return found
}
