/** Schedulers of small models, and the texts that the generator of one text writes. */
import { afterAll, onTestFinished } from 'vitest'
import { createRuntime } from '../../../../engine/cpu/cpu-runtime.ts'
import { continueText, promptTokens } from '../../continue-text.ts'
import { Contexts } from '../../generation/contexts.ts'
import { pageBytes } from '../../generation/token-memory.ts'
import { type Asked, bytes, scoredModel, VOCABULARY } from '../../scoring/testing/scored-model.ts'
import type { Answer } from '../answer.ts'
import type { TextEvent, TextRequest, WrittenToken } from '../contract.ts'
import { Scheduler, type SchedulerOptions } from '../scheduler.ts'
import type { RatedToken } from '../token-probabilities.ts'

const runtime = await createRuntime({ threads: 1 })
afterAll(() => runtime.close())

type Model = Awaited<ReturnType<typeof scoredModel>>

/** A tokenizer whose end token no model writes, so that texts have the lengths that tests ask for. */
const endless = { ...bytes, rules: { ...bytes.rules, end: [VOCABULARY] } }

export const modelOf = (asked: Asked = {}) => scoredModel(runtime, { sequence: 40, tokenizer: endless, ...asked })

/** @param pages Number of pages for all texts; default: whole contexts. */
export function schedulerOf(model: Model, streams: number, options: Partial<SchedulerOptions> = {}, pages?: number) {
  const { model: config } = model.config
  const contextBytes = pages && pages * pageBytes(config)
  const contexts = new Contexts(runtime, config, model.store, { count: streams, contextBytes, detailed: true })
  const scheduler = new Scheduler(contexts, model.tokenizer, { queue: 20, ...options })
  onTestFinished(async () => {
    await scheduler.close(new Error('the test has ended'))
    contexts.release()
  })
  return { contexts, scheduler }
}

export interface Wish extends Partial<Omit<TextRequest, 'prompt'>> {
  readonly text: string
}

export async function requestOf({ tokenizer, config }: Model, { text, ...others }: Wish): Promise<TextRequest> {
  const prompt = await promptTokens(tokenizer, { prompt: text }, config.model.sequence)
  const sampling = { temperature: 0.9, topK: 40, topP: 0.95 }
  const plain = { tokens: 10, seed: 1, stop: [], schema: null, top: null, ratesPrompt: false, routes: false }
  return { ...sampling, ...plain, ...others, prompt }
}

export type End = Extract<TextEvent, { kind: 'end' }>

interface Read {
  text: string
  tokens: WrittenToken[]
  prompt: readonly RatedToken[]
  end: End | undefined
}

/** Reads the texts of an answer to their ends. */
export async function readAll(answer: Answer, count = 1): Promise<Read[]> {
  const read = Array.from({ length: count }, (): Read => ({ text: '', tokens: [], prompt: [], end: undefined }))
  for await (const event of answer.events()) {
    const of = read[event.index] as Read
    if (event.kind === 'prompt') of.prompt = event.tokens
    else if (event.kind === 'end') of.end = event
    else {
      of.text += event.text
      of.tokens.push(...event.tokens)
    }
  }
  return read
}

export const readOne = async (answer: Answer): Promise<Read> => (await readAll(answer))[0] as Read

/** The text that the generator of `choir generate` writes alone. */
export async function alone(model: Model, { text, ...others }: Wish) {
  const { tokens, seed, stop, temperature, topK, topP } = await requestOf(model, { text, ...others })
  const pieces = continueText(model, { prompt: text, tokens, seed, stop, temperature, topK, topP })
  let whole = ''
  for (;;) {
    const { done, value } = await pieces.next()
    if (done) return { text: whole, reason: value.reason, tokens: value.tokens }
    whole += value
  }
}
