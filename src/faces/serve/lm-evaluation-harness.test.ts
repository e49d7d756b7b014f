/**
 * lm-evaluation-harness as a client. Its model `local-completions` is repeated here from lm_eval/models/api_models.py and
 * openai_completions.py (0.4.13, of 21 August 2026): the requests that it builds, and how it reads the responses.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createRuntime } from '../../engine/cpu/cpu-runtime.ts'
import { continueText } from '../../use/infer/continue-text.ts'
import type { ContinuationScore } from '../../use/infer/scoring/score.ts'
import { score, textScore } from '../../use/infer/scoring/testing/scored-model.ts'
import { createServeApp, type ServeApp } from './app.ts'
import { completionFormat } from './formats.ts'
import type { ServedModel } from './served-model.ts'
import { serveSmall, smallModel } from './testing/small-model.ts'

const runtime = await createRuntime({ threads: 1 })
afterAll(() => runtime.close())
const model = await smallModel(runtime)
const { tokenizer } = model
const begin = tokenizer.endOfText

let app: ServeApp
const opened: ServedModel[] = []
const appOf = (of: typeof model): ServeApp => {
  const served = serveSmall(of, 'demo', 200)
  opened.push(served)
  const made = createServeApp({ port: 8000, token: undefined })
  made.serveModels([served])
  return made
}
beforeAll(() => {
  app = appOf(model)
})
afterAll(async () => {
  for (const served of opened) await served.close(new Error('the tests have ended'))
})

interface Choice {
  readonly index: number
  readonly text: string
  readonly logprobs: {
    readonly token_logprobs: readonly (number | null)[]
    readonly top_logprobs: readonly (Readonly<Record<string, number>> | null)[]
  }
}

/** `model_call`: the key is the environment's OPENAI_API_KEY, which is empty. */
async function call(payload: object, to = app): Promise<Choice[]> {
  const host = 'localhost:8000'
  const headers = { host, 'content-type': 'application/json', authorization: 'Bearer ' }
  const body = JSON.stringify(payload)
  const response = await to.fetch(new Request(`http://${host}/v1/completions`, { method: 'POST', headers, body }))
  const json = (await response.json()) as { choices: Choice[] }
  expect(response.status, JSON.stringify(json)).toBe(200)
  return json.choices.toSorted((a, b) => a.index - b.index)
}

/** A context and a continuation, as token ids. */
type Pair = readonly [context: readonly number[], continuation: readonly number[]]

/** `_loglikelihood_tokens`: the payload, and `parse_logprobs`. */
async function loglikelihood(pairs: readonly Pair[], to = app) {
  const payload = { model: 'demo', temperature: 0, max_tokens: 1, logprobs: 1, seed: 1234, echo: true }
  const choices = await call({ ...payload, prompt: pairs.map(([context, rest]) => [...context, ...rest]) }, to)
  expect(choices).toHaveLength(pairs.length)
  return choices.map(({ logprobs }, i) => {
    const from = (pairs[i] as Pair)[0].length
    const tokens = logprobs.token_logprobs.slice(from, -1)
    const top = logprobs.top_logprobs.slice(from, -1)
    return {
      total: tokens.reduce<number>((sum, value) => sum + (value as number), 0),
      isGreedy: tokens.every((value, t) => value === Math.max(...Object.values(top[t] ?? {}))),
    }
  })
}

/** The text that `choir generate` writes with temperature 0. */
async function greedy(prompt: string, tokens: number, stop: string[] = []): Promise<string> {
  let text = ''
  const sampling = { temperature: 0, topK: 0, topP: 1 }
  for await (const piece of continueText(model, { prompt, tokens, seed: 1, stop, ...sampling })) text += piece
  return text
}

/** A context whose most probable continuation is text, and not only bytes. */
async function predictable(): Promise<[string, string]> {
  for (const letter of 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ') {
    const text = await greedy(`Which ${letter}`, 2)
    if (/^[ -}]{2}$/.test(text)) return [`Which ${letter}`, text]
  }
  throw new Error('the model writes no text')
}

const encode = async (text: string): Promise<number[]> => [...(await tokenizer.encode(text))]

test('log-likelihoods of continuations in a batch are the scores of the library, greedy or not', async () => {
  const [question, likely] = await predictable()
  const items = [
    { context: question, continuation: likely },
    { context: question, continuation: `${likely.slice(0, 1)}~~~` },
    { context: 'Which is the largest?', continuation: ' Mars' },
    { context: 'A', continuation: ' B' },
    { context: 'The people of', continuation: ' the states' },
  ]
  const pairs: Pair[] = []
  for (const { context, continuation } of items)
    pairs.push([[begin, ...(await encode(context))], await encode(continuation)])
  const found = await loglikelihood(pairs)
  const expected = (await score(model, items)) as ContinuationScore[]
  for (const [i, { total, isGreedy }] of expected.entries()) {
    expect(found[i]?.total, JSON.stringify(items[i])).toBeCloseTo(total, 4)
    expect(found[i]?.isGreedy, JSON.stringify(items[i])).toBe(isGreedy)
  }
  expect(found.map(({ isGreedy }) => isGreedy).slice(0, 2)).toEqual([true, false])
})

test('a rolling log-likelihood, whose context is the token that begins a text, is the score of the text', async () => {
  const text = 'We the people of the United States'
  const [found] = await loglikelihood([[[begin], await encode(text)]])
  expect(found?.total).toBeCloseTo((await textScore(model, text)).total, 4)
})

test('the token after the continuation, which is left out, may end the text, and the context may be full', async () => {
  // The context of the model has 40 tokens, and a prompt of `max_length` - 1 = 39 leaves place for one.
  for (const length of [12, 39]) {
    const ids = [begin, ...(await encode('We the people of the United States, in Or'.slice(0, length - 1)))]
    const pair: Pair = [ids.slice(0, 5), ids.slice(5)]
    const [expected] = await loglikelihood([pair])
    const [next] = await call({ model: 'demo', prompt: [ids], temperature: 0, max_tokens: 1 })
    const end = (await encode(next?.text ?? ''))[0] as number
    const ending = { ...tokenizer, rules: { ...tokenizer.rules, end: [end] } }
    expect(await loglikelihood([pair], appOf({ ...model, tokenizer: ending }))).toEqual([expected])
  }
})

test('texts until a stop are those of the library, in the order of their prompts', async () => {
  const prompts = ['Question: why?\nAnswer:', 'The people', 'A']
  const whole = await greedy('The people', 12)
  const until = [whole.slice(4, 6), '\n\n']
  const asked = { model: 'demo', max_tokens: 12, temperature: 0, stop: [...until, '<|endoftext|>'], seed: 1234 }
  const ids = []
  for (const prompt of prompts) ids.push([begin, ...(await encode(prompt))])
  const choices = await call({ ...asked, prompt: ids })
  for (const [i, prompt] of prompts.entries()) expect(choices[i]?.text).toBe(await greedy(prompt, 12, until))
})

describe('a token whose text is that of a more probable one', () => {
  test('is not taken for the most probable token', () => {
    const format = completionFormat({
      tokenizer: { ...tokenizer, bytes: () => Buffer.from('A') },
      rated: true,
      echo: false,
    })
    const token = { id: 66, logProbability: -3, offset: 0, top: [{ id: 65, logProbability: -1 }] }
    const prompt = { ids: [begin], before: 1, text: '' }
    expect(format.whole(prompt, null, { text: 'A', tokens: [token] })).toMatchObject({
      logprobs: { token_logprobs: [-3], top_logprobs: [{ A: -1 }] },
    })
  })
})

test('a server without a tokenizer for clients says so, and the tokenizer of the folder is used', async () => {
  // `check_remote_tokenizer_support` asks for this before anything else, and takes 404 as no.
  const host = 'localhost:8000'
  expect((await app.fetch(new Request(`http://${host}/tokenizer_info`, { headers: { host } }))).status).toBe(404)
})
