/** The server as a function from requests to responses, over a small model with random weights. */
import { Ajv2020 } from 'ajv/dist/2020.js'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { createRuntime } from '../../engine/cpu/cpu-runtime.ts'
import { continueText } from '../../use/infer/continue-text.ts'
import { bytes, expectNear, textScore, values } from '../../use/infer/scoring/testing/scored-model.ts'
import { createServeApp, type ServeApp } from './app.ts'
import { limits } from './request-fields.ts'
import type { ServedModel } from './served-model.ts'
import { serveSmall, smallModel } from './testing/small-model.ts'

const runtime = await createRuntime({ threads: 1 })
afterAll(() => runtime.close())

const host = 'localhost:8000'
const model = await smallModel(runtime)

let served: ServedModel
let app: ServeApp
beforeAll(() => {
  served = serveSmall(model, 'demo', 2)
  app = createServeApp({ port: 8000, token: undefined })
  app.serveModels([served])
})
afterAll(() => served.close(new Error('the tests have ended')))

// biome-ignore lint/suspicious/noExplicitAny: responses are compared with what OpenAI's reference lists
type Json = any

async function send(path: string, body: unknown, headers: Record<string, string> = {}, to = app): Promise<Response> {
  return to.fetch(
    new Request(`http://${host}${path}`, {
      method: 'POST',
      headers: { host, 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    }),
  )
}

const get = async (path: string, headers: Record<string, string> = {}, to = app): Promise<Response> =>
  to.fetch(new Request(`http://${host}${path}`, { headers: { host, ...headers } }))

async function complete(body: object): Promise<Json> {
  const response = await send('/v1/completions', body)
  const json = await response.json()
  expect(response.status, JSON.stringify(json)).toBe(200)
  return json
}

/** The text that `choir generate` writes. */
async function generated(
  prompt: string,
  tokens: number,
  seed: number,
  sampling = { temperature: 1, topK: 0, topP: 1 },
) {
  let text = ''
  for await (const piece of continueText(model, { prompt, tokens, seed, ...sampling })) text += piece
  return text
}

describe('completions', () => {
  test('have the text that choir generate writes for the seed, in the objects of OpenAI', async () => {
    const answer = await complete({ model: 'demo', prompt: 'Hello', max_tokens: 12, seed: 3 })
    expect(answer).toMatchObject({ object: 'text_completion', model: 'demo', id: expect.stringMatching(/^cmpl-/) })
    expect(answer.choices).toEqual([
      { index: 0, text: await generated('Hello', 12, 3), logprobs: null, finish_reason: 'length' },
    ])
    // The prompt has five bytes and the token that begins a text.
    expect(answer.usage).toEqual({
      prompt_tokens: 6,
      completion_tokens: 12,
      total_tokens: 18,
      prompt_tokens_details: { cached_tokens: 0 },
    })
  })

  test('sample as asked for, and continuation i has the seed + i', async () => {
    const asked = { prompt: 'Hello', max_tokens: 9, temperature: 0.7, top_k: 5, top_p: 0.8, seed: 11 }
    const { choices } = await complete({ ...asked, n: 3 })
    const sampling = { temperature: 0.7, topK: 5, topP: 0.8 }
    for (const [i, { index, text }] of choices.entries()) {
      expect(index).toBe(i)
      expect(text).toBe(await generated('Hello', 9, 11 + i, sampling))
    }
  })

  test('without a seed differ', async () => {
    const texts = new Set<string>()
    for (let i = 0; i < 4; i++) texts.add((await complete({ prompt: 'a', max_tokens: 16 })).choices[0].text)
    expect(texts.size).toBeGreaterThan(1)
  })

  test('take several prompts, as texts or as token ids', async () => {
    const ids = [bytes.endOfText, ...Buffer.from('Hello')]
    const asked = { max_tokens: 5, seed: 1 }
    const of = async (prompt: unknown) =>
      (await complete({ ...asked, prompt })).choices.map(({ text }: { text: string }) => text)
    const [hello, other] = [await generated('Hello', 5, 1), await generated('Other', 5, 1)]
    expect(await of(['Hello', 'Other'])).toEqual([hello, other])
    expect(await of(ids)).toEqual([hello])
    expect(await of([ids, ids])).toEqual([hello, hello])
  })

  test('end before a stop text', async () => {
    const whole = await generated('Hello', 30, 2)
    const stop = whole.slice(12, 14)
    const { choices } = await complete({ prompt: 'Hello', max_tokens: 30, seed: 2, stop: [stop], logprobs: 0 })
    const [{ text, finish_reason, logprobs }] = choices
    expect({ text, finish_reason }).toEqual({ text: whole.slice(0, whole.indexOf(stop)), finish_reason: 'stop' })
    // The tokens of the stop are left out.
    for (const offset of logprobs.text_offset) expect(offset).toBeLessThan(text.length)
  })

  test('with echo and 0 tokens give the log-probability of each token of the prompt, as choir score does', async () => {
    for (const text of ['We the', 'We the people of the United States']) {
      const { choices, usage } = await complete({ prompt: text, max_tokens: 0, echo: true, logprobs: 2 })
      const [choice] = choices
      expect(choice).toMatchObject({ text, finish_reason: 'length' })
      const { tokens, token_logprobs, top_logprobs, text_offset } = choice.logprobs
      expect(tokens).toEqual([...text])
      expect(text_offset).toEqual([...text].map((_, i) => i))
      expectNear(token_logprobs, values(await textScore(model, text)))
      for (const [i, top] of top_logprobs.entries()) {
        const largest = Math.max(...(Object.values(top) as number[]))
        expect(token_logprobs[i]).toBeLessThanOrEqual(largest)
        expect(Object.keys(top).length).toBeGreaterThanOrEqual(2)
        expect(Object.keys(top).length).toBeLessThanOrEqual(3)
      }
      expect(usage.completion_tokens).toBe(0)
    }
  })

  test('of token ids with echo have no log-probability for the first id', async () => {
    const ids = [...Buffer.from('We the people')]
    const asked = { prompt: [ids], max_tokens: 1, logprobs: 1, echo: true }
    const [{ logprobs }] = (await complete(asked)).choices
    expect(logprobs.tokens).toHaveLength(ids.length + 1)
    expect([logprobs.token_logprobs[0], logprobs.top_logprobs[0]]).toEqual([null, null])
    const { token_logprobs } = (await complete({ ...asked, prompt: 'We the people' })).choices[0].logprobs
    expect(token_logprobs.every((value: unknown) => typeof value === 'number')).toBe(true)
  })

  test('bytes that are no character are written as OpenAI does', async () => {
    const [{ logprobs, text }] = (
      await complete({ prompt: [0xe2, 0x82, 0xac], max_tokens: 0, echo: true, logprobs: 0 })
    ).choices
    expect(text).toBe('€')
    expect(logprobs.tokens).toEqual(['bytes:\\xe2', 'bytes:\\x82', 'bytes:\\xac'])
  })

  test('return experts and gates of each token on request', async () => {
    const asked = { prompt: 'Hello', max_tokens: 4, seed: 1, choir: { routing: true } }
    const [{ choir, text }] = (await complete(asked)).choices
    const { tokens, prompt_tokens, routers } = choir.routing
    expect(prompt_tokens).toBe(6)
    expect(tokens.slice(1).join('')).toBe(`Hello${text}`)
    expect(routers.map(({ layer, module }: Json) => [layer, module])).toEqual([
      [0, 'ffn'],
      [1, 'ffn'],
    ])
    for (const { experts, choices, expert, gate } of routers) {
      expect([experts, choices]).toEqual([4, 2])
      expect(expert).toHaveLength(2 * tokens.length)
      expect(gate).toHaveLength(2 * tokens.length)
      for (const id of expert) expect(id).toBeLessThan(4)
    }
    expect(text).toBe(await generated('Hello', 4, 1))
  })
})

/** The objects of a stream, which must end with `[DONE]`. */
async function events(response: Response): Promise<Json[]> {
  expect(response.headers.get('content-type')).toBe('text/event-stream')
  const lines = (await response.text()).split('\n\n')
  expect(lines.slice(-2)).toEqual(['data: [DONE]', ''])
  return lines.slice(0, -2).map((line) => JSON.parse(line.replace(/^data: /, '')))
}

describe('a stream', () => {
  test('has the text in pieces, then the reason of its end, and the usage if it is asked for', async () => {
    const asked = { prompt: 'Hello', max_tokens: 12, seed: 3, n: 2, stream: true }
    const chunks = await events(await send('/v1/completions', { ...asked, stream_options: { include_usage: true } }))
    const last = chunks.pop()
    expect(last).toMatchObject({ choices: [], usage: { prompt_tokens: 6, completion_tokens: 24, total_tokens: 30 } })
    expect(chunks.every(({ usage, choices }) => usage === null && choices.length === 1)).toBe(true)
    for (const index of [0, 1]) {
      const own = chunks.map(({ choices }) => choices[0]).filter((choice) => choice.index === index)
      expect(own.map(({ text }) => text).join('')).toBe(await generated('Hello', 12, 3 + index))
      expect(own.map(({ finish_reason }) => finish_reason)).toEqual([...own.slice(1).map(() => null), 'length'])
    }
  })

  test('has the log-probabilities and experts that a whole response has', async () => {
    const asked = { prompt: 'Hello', max_tokens: 9, seed: 3, logprobs: 2, echo: true, choir: { routing: true } }
    const [whole] = (await complete(asked)).choices
    const chunks = await events(await send('/v1/completions', { ...asked, stream: true }))
    const choices = chunks.map((chunk) => chunk.choices[0])
    const joined = (name: string) => choices.flatMap(({ logprobs }) => logprobs?.[name] ?? [])
    for (const name of ['tokens', 'token_logprobs', 'top_logprobs', 'text_offset'])
      expect(joined(name)).toEqual(whole.logprobs[name])
    expect(choices.map(({ text }) => text).join('')).toBe(whole.text)
    expect(choices.at(-1).choir).toEqual(whole.choir)
  })

  test('that is left frees its place', async () => {
    const response = await send('/v1/completions', { prompt: 'a', max_tokens: 60_000, stream: true })
    const reader = response.body?.getReader()
    await reader?.read()
    expect(served.scheduler.active).toBe(1)
    await reader?.cancel()
    await expect.poll(() => served.scheduler.active).toBe(0)
  })

  test('that fails ends with an error event', async () => {
    const failing = serveSmall(model, 'failing', 2)
    const other = createServeApp({ port: 8000, token: undefined })
    other.serveModels([failing])
    const response = await send('/v1/completions', { prompt: 'a', max_tokens: 60_000, stream: true }, {}, other)
    const reader = response.body?.getReader()
    await reader?.read()
    await failing.close(new Error('the server stops'))
    let text = ''
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true, value: undefined }
      if (done) break
      text += Buffer.from(value as Uint8Array).toString()
    }
    expect(text.trimEnd().split('\n').at(-1)).toBe(
      'data: {"error":{"message":"the server stops","type":"server_error","param":null,"code":null}}',
    )
  })
})

describe('output by a JSON schema', () => {
  const schema = {
    type: 'object',
    properties: {
      planet: { enum: ['Earth', 'Mars'] },
      moons: { type: 'integer', minimum: 0, maximum: 99 },
      rings: { type: ['boolean', 'null'] },
    },
    required: ['planet', 'moons', 'rings'],
    additionalProperties: false,
  }
  const format = (schema: unknown) => ({ type: 'json_schema', json_schema: { name: 'planet', strict: true, schema } })
  const asked = { prompt: 'Hello', max_tokens: 200, seed: 4, response_format: format(schema) }

  test('is valid in each text, ends by itself, and is what generate writes', async () => {
    const isValid = new Ajv2020().compile(schema)
    const { choices, usage } = await complete({ ...asked, n: 2 })
    for (const [i, { text, finish_reason }] of choices.entries()) {
      expect(isValid(JSON.parse(text)), text).toBe(true)
      expect(finish_reason).toBe('stop')
      let written = ''
      const options = { tokens: 200, seed: 4 + i, temperature: 1, topK: 0, topP: 1, schema }
      for await (const piece of continueText(model, { prompt: 'Hello', ...options })) written += piece
      expect(text).toBe(written)
    }
    expect(choices[0].text).not.toBe(choices[1].text)
    // The end of the value needs no token.
    expect(usage.completion_tokens).toBe(choices[0].text.length + choices[1].text.length)
  })

  test('is the same in a stream, and log-probabilities are those of the model', async () => {
    const [{ text, logprobs }] = (await complete({ ...asked, logprobs: 0 })).choices
    const response = await send('/v1/completions', { ...asked, stream: true })
    const events = (await response.text()).split('\n\n').filter((event) => event.startsWith('data: {'))
    expect(events.map((event) => JSON.parse(event.slice(6)).choices[0].text).join('')).toBe(text)
    const score = values(await textScore(model, `Hello${text}`)).slice(5)
    expectNear(logprobs.token_logprobs.slice(0, 30), score.slice(0, 30))
  })

  test('may be any object', async () => {
    const body = { ...asked, max_tokens: 400, response_format: { type: 'json_object' } }
    const { choices } = await complete({ ...body, n: 4 })
    for (const { text, finish_reason } of choices) {
      expect(text[0]).toBe('{')
      if (finish_reason === 'stop') expect(JSON.parse(text)).toBeTypeOf('object')
    }
  })

  test.each<[string, Json, string, RegExp]>([
    [
      'an unsupported keyword',
      { type: 'string', pattern: 'a' },
      'response_format.json_schema.schema.pattern',
      /unsupported keyword response_format\.json_schema\.schema\.pattern: "a"/,
    ],
    ['an endless schema', { $ref: '#' }, 'response_format.json_schema.schema', /no value of it ends/],
    [
      'many constants',
      { enum: Array.from({ length: 9000 }, (_, i) => i) },
      'response_format.json_schema.schema.enum',
      /more than 4,096/,
    ],
    ['no schema', undefined, 'response_format.json_schema.schema', /expected a schema/],
  ])('is refused with %s', async (_, schema, param, message) => {
    const response = await send('/v1/completions', { prompt: 'a', response_format: format(schema) })
    const { error } = (await response.json()) as Json
    expect({ status: response.status, param: error.param, message: error.message }).toEqual({
      status: 400,
      param,
      message: expect.stringMatching(message),
    })
  })
})

test('models are listed and described', async () => {
  const { data } = (await (await get('/v1/models')).json()) as Json
  expect(data).toEqual([expect.objectContaining({ id: 'demo', object: 'model', owned_by: 'choir' })])
  expect(await (await get('/v1/models/demo')).json()).toEqual(data[0])
  expect((await get('/v1/models/gpt')).status).toBe(404)
})

describe('an error has the shape of OpenAI, for', () => {
  test.each<[string, Json, number, string | null, RegExp]>([
    ['an unknown model', { model: 'gpt' }, 404, 'model', /the model "gpt" does not exist \(expected "demo"\)/],
    ['a prompt with a typing error', { promt: 'x' }, 400, 'promt', /unknown field promt.*did you mean "prompt"/],
    ['a negative seed', { seed: -1 }, 400, 'seed', /invalid seed: -1 \(expected an integer of at least 0/],
    ['an unknown field', { max_token: 3 }, 400, 'max_token', /unknown field max_token: 3 .*did you mean "max_tokens"/],
    ['a wrong type', { max_tokens: '3' }, 400, 'max_tokens', /invalid max_tokens: "3" \(expected/],
    ['a negative number', { max_tokens: -1 }, 400, 'max_tokens', /invalid max_tokens: -1/],
    ['a high temperature', { temperature: 3 }, 400, 'temperature', /invalid temperature: 3/],
    ['a penalty', { presence_penalty: 1 }, 400, 'presence_penalty', /there are no penalties here/],
    ['a bias', { logit_bias: { 5: 1 } }, 400, 'logit_bias', /bias/],
    ['an empty stop', { stop: [''] }, 400, 'stop', /invalid stop: ""/],
    ['a prompt of a wrong type', { prompt: { a: 1 } }, 400, 'prompt', /invalid prompt: \{"a":1\} \(expected text,/],
    ['a mixed prompt', { prompt: ['a', 3] }, 400, 'prompt', /invalid prompt: 3/],
    [
      'an id that is no token',
      { prompt: [5000] },
      400,
      'prompt',
      /invalid prompt: 5000 \(expected token ids below 257\)/,
    ],
    ['a fraction', { prompt: [1.5] }, 400, 'prompt', /invalid prompt: 1.5/],
    ['a long prompt', { prompt: 'a'.repeat(41) }, 400, 'prompt', /the prompt has 42 tokens, and the context .* 40/],
    ['a huge prompt', { prompt: 'a'.repeat(100_000) }, 400, 'prompt', /has 100,000 characters, and the context/],
    ['too many texts', { n: 128, prompt: ['a', 'b'] }, 400, 'n', /gives 256 texts \(expected at most 128\)/],
    ['too many tokens', { n: 17, max_tokens: 65_536 }, 400, 'max_tokens', /1,114,112 tokens in all texts/],
    ['too many details', { max_tokens: 60_000, logprobs: 20 }, 400, 'logprobs', /1,260,000 log-probabilities/],
    [
      'too many experts',
      { n: 5, max_tokens: 60_000, choir: { routing: true } },
      400,
      'choir.routing',
      /1,200,\d+ experts/,
    ],
    [
      'a wish of no meaning',
      { choir: { route: true } },
      400,
      'choir.route',
      /unknown field choir.route: true .*routing/,
    ],
  ])('%s', async (_, body, status, param, message) => {
    const response = await send('/v1/completions', { prompt: 'a', ...body })
    const { error } = (await response.json()) as Json
    expect({ status: response.status, ...error }).toMatchObject({ status, param, type: 'invalid_request_error' })
    expect(error.message).toMatch(message)
  })

  test.each<[string, string, number, RegExp]>([
    ['no JSON', '{"prompt": ', 400, /not JSON/],
    ['a list', '[]', 400, /invalid request: \[\] \(expected an object\)/],
    ['null', 'null', 400, /expected an object/],
    ['deep nesting', `{"metadata": ${'['.repeat(3000)}${']'.repeat(3000)}}`, 400, /nested more than 32 deep/],
    ['deeper nesting', `{"metadata": ${'{"a":'.repeat(1e5)}1${'}'.repeat(1e5)}}`, 400, /nested more than 32 deep/],
    ['a deep prompt', `{"prompt": ${'['.repeat(1e5)}${']'.repeat(1e5)}}`, 400, /nested more than 32 deep/],
    ['a field of prototypes', '{"__proto__": {"n": 3}}', 400, /__proto__/],
    ['many fields', JSON.stringify({ metadata: 'a'.repeat(limits.others) }), 400, /characters besides its prompt/],
    ['a large body', JSON.stringify({ prompt: 'a'.repeat(5 << 20) }), 413, /at most 4194304 bytes/],
  ])('%s', async (_, body, status, message) => {
    const response = await send('/v1/completions', body)
    const { error } = (await response.json()) as Json
    expect({ status: response.status, message: error.message }).toEqual({
      status,
      message: expect.stringMatching(message),
    })
  })

  test('a body that is not UTF-8', async () => {
    const body = Buffer.from('{"prompt": "\xff", "max_tokens": 1}', 'latin1')
    const headers = { host, 'content-type': 'application/json' }
    const response = await app.fetch(new Request(`http://${host}/v1/completions`, { method: 'POST', headers, body }))
    expect({ status: response.status, ...((await response.json()) as Json).error }).toMatchObject({
      status: 400,
      message: 'The request is not UTF-8.',
    })
  })

  test('a path that does not exist', async () => {
    const response = await get('/v1/embeddings')
    expect(response.status).toBe(404)
    expect(await response.json()).toEqual({
      error: expect.objectContaining({ message: 'There is nothing at GET /v1/embeddings.', code: null }),
    })
  })

  test('a chat with a model that has no template', async () => {
    const messages = [{ role: 'user', content: 'Hi' }]
    const response = await send('/v1/chat/completions', { messages })
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({
      error: {
        code: 'no_chat_template',
        message: expect.stringMatching(/"demo" has no chat template.*\/v1\/completions/),
      },
    })
  })

  test.each<[string, Json, RegExp]>([
    ['no messages', {}, /invalid messages: nothing/],
    ['messages of a wrong type', { messages: 'Hi' }, /invalid messages: "Hi"/],
    ['a message without a content', { messages: [{ role: 'user' }] }, /invalid messages\[0\]/],
    ['a picture', { messages: [{ role: 'user', content: [{ type: 'image_url' }] }] }, /invalid messages\[0\]/],
    ['a name', { messages: [{ role: 'user', content: 'Hi', name: 'x' }] }, /unknown field messages\[0\]\.name/],
    ['no schema', { messages: [], response_format: { type: 'json_schema' } }, /response_format\.json_schema/],
    ['a form of its own', { messages: [], response_format: { type: 'yaml' } }, /response_format\.type: "yaml"/],
    ['messages with a typing error', { mesages: [] }, /unknown field mesages.*did you mean "messages"/],
    ['tools', { messages: [], tools: [{}] }, /unknown field tools/],
  ])('a chat with %s', async (_, body, message) => {
    const response = await send('/v1/chat/completions', body)
    expect(response.status).toBe(400)
    expect(((await response.json()) as Json).error.message).toMatch(message)
  })
})

describe('who may send requests', () => {
  test('without a key: this machine, by JSON, and no page of another site', async () => {
    for (const [headers, status] of [
      [{ host: 'evil.example:8000' }, 403],
      [{ 'content-type': 'text/plain' }, 415],
      [{ origin: 'https://evil.example' }, 403],
    ] as const) {
      const response = await send('/v1/completions', { prompt: 'a', max_tokens: 1 }, headers)
      expect(response.status).toBe(status)
      expect(await response.json()).toHaveProperty('error.message')
    }
    expect((await get('/v1/models', { host: 'evil.example:8000' })).status).toBe(403)
  })

  test('with a key: clients that send it, under any name; /health has no secrets', async () => {
    const locked = createServeApp({ port: 8000, token: 'only we know' })
    locked.serveModels([served])
    const name = { host: 'machine.example:8000' }
    for (const path of ['/v1/models', '/metrics']) {
      expect((await get(path, name, locked)).status).toBe(401)
      const wrong = await get(path, { ...name, authorization: 'Bearer only we knew' }, locked)
      expect(await wrong.json()).toMatchObject({ error: { code: 'invalid_api_key', message: 'The key is wrong.' } })
      expect((await get(path, { ...name, authorization: 'Bearer only we know' }, locked)).status).toBe(200)
    }
    expect((await get('/health', name, locked)).status).toBe(200)
    expect((await get('/v1/models?token=only+we+know', name, locked)).status).toBe(401)
  })
})

test('a full queue is answered with 429 and a time to try again', async () => {
  const left = new AbortController()
  const asked = { prompt: 'a', max_tokens: 60_000 }
  const request = () =>
    app.fetch(
      new Request(`http://${host}/v1/completions`, {
        method: 'POST',
        headers: { host, 'content-type': 'application/json' },
        body: JSON.stringify(asked),
        signal: left.signal,
      }),
    )
  // Two texts have places and two wait.
  const running = Array.from({ length: 4 }, request)
  await expect.poll(() => served.scheduler.active + served.scheduler.queued).toBe(4)
  const refused = await send('/v1/completions', asked)
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '1'])
  expect(await refused.json()).toMatchObject({ error: { type: 'rate_limit_error', code: 'rate_limit_exceeded' } })
  left.abort()
  await Promise.all(running)
  await expect.poll(() => served.scheduler.active + served.scheduler.queued).toBe(0)
})

test('several models are told apart by their ids', async () => {
  const [first, second] = [serveSmall(model, 'first', 2), serveSmall(model, 'second', 2)]
  const both = createServeApp({ port: 8000, token: undefined })
  both.serveModels([first, second])
  const unnamed = await send('/v1/completions', { prompt: 'a' }, {}, both)
  expect(unnamed.status).toBe(400)
  expect(await unnamed.json()).toMatchObject({ error: { message: 'missing model (expected "first" or "second")' } })
  const named = await send('/v1/completions', { model: 'second', prompt: 'a', max_tokens: 2 }, {}, both)
  expect(await named.json()).toMatchObject({ model: 'second' })
  for (const model of [first, second]) await model.close(new Error('over'))
})

test('health and requests follow the state of the server', async () => {
  const other = createServeApp({ port: 8000, token: undefined })
  const health = async () => {
    const response = await get('/health', {}, other)
    return [response.status, await response.json()]
  }
  const status = async () => (await send('/v1/completions', { prompt: 'a', max_tokens: 1 }, {}, other)).status
  expect([await health(), await status()]).toEqual([[503, { status: 'loading' }], 503])
  other.serveModels([served])
  expect([await health(), await status()]).toEqual([[200, { status: 'ok' }], 200])
  await other.drain(0)
  expect([await health(), await status()]).toEqual([[503, { status: 'stopping' }], 503])
})

test('the server stops when the running requests have ended', async () => {
  const other = createServeApp({ port: 8000, token: undefined })
  other.serveModels([served])
  const response = await send('/v1/completions', { prompt: 'a', max_tokens: 30, stream: true }, {}, other)
  const drained = vi.fn()
  const draining = other.drain(600_000).then(drained)
  expect(drained).not.toHaveBeenCalled()
  expect((await events(response)).at(-1).choices[0].finish_reason).toBe('length')
  await draining
})

test('metrics count requests, tokens and times in the format of Prometheus', async () => {
  const other = createServeApp({ port: 8000, token: undefined })
  other.serveModels([served])
  await send('/v1/completions', { prompt: 'a', max_tokens: 3 }, {}, other)
  await send('/v1/completions', 'x', {}, other)
  other.measured.computed('demo', { read: 5, reused: 7, written: 1, ms: 250 })
  other.measured.computed('demo', { read: 0, reused: 0, written: 1, ms: 250 })
  await expect.poll(() => served.scheduler.pages.inUse).toBe(0)
  const response = await get('/metrics', {}, other)
  expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4')
  const text = await response.text()
  for (const line of [
    '# TYPE choir_requests_total counter',
    'choir_requests_total{endpoint="/v1/completions",status="200"} 1',
    'choir_requests_total{endpoint="/v1/completions",status="400"} 1',
    'choir_prompt_tokens_total{model="demo"} 5',
    'choir_reused_prompt_tokens_total{model="demo"} 7',
    'choir_written_tokens_total{model="demo"} 2',
    'choir_compute_seconds_total{model="demo"} 0.5',
    '# TYPE choir_texts_waiting gauge',
    'choir_texts_waiting{model="demo"} 0',
    // Two texts of 40 tokens, each in one page. Prompts of the other tests may be kept.
    'choir_context_pages{model="demo"} 2',
    'choir_context_pages_in_use{model="demo"} 0',
    `choir_context_pages_kept{model="demo"} ${served.scheduler.pages.kept}`,
    'choir_requests_running 0',
    '# TYPE choir_request_seconds histogram',
    'choir_request_seconds_bucket{endpoint="/v1/completions",le="+Inf"} 1',
    'choir_request_seconds_count{endpoint="/v1/completions"} 1',
  ])
    expect(text.split('\n')).toContain(line)
  // Every line is a comment, or a name with labels and a number.
  for (const line of text.trimEnd().split('\n')) expect(line).toMatch(/^(?:# .*|[a-z_]+(?:\{.*\})? [\d.e+-]+)$/)
})

describe('the experts of the traffic', () => {
  const sumOf = (counts: readonly number[]) => counts.reduce((sum, count) => sum + count, 0)

  test('are those of the tokens of all texts, as their requests return them', async () => {
    const own = serveSmall(model, 'counted', 4)
    const site = createServeApp({ port: 8000, token: undefined })
    expect(await (await get('/', {}, site)).text()).toContain('being loaded')
    site.serveModels([own])
    try {
      const wanted: number[][] = []
      let tokens = 0
      for (const [prompt, seed] of [
        ['Hello', 1],
        ['A longer text than that', 2],
      ] as const) {
        const body = { prompt, seed, max_tokens: 6, choir: { routing: true } }
        const { choices } = (await (await send('/v1/completions', body, {}, site)).json()) as Json
        const { routing } = choices[0].choir
        // The last token of a text is routed only if its request asks for that.
        tokens += routing.tokens.length
        for (const [r, { experts, expert }] of routing.routers.entries()) {
          wanted[r] ??= new Array<number>(experts).fill(0)
          for (const e of expert) (wanted[r] as number[])[e] = (wanted[r]?.[e] ?? 0) + 1
        }
      }
      const { models } = (await (await get('/v1/choir/experts', {}, site)).json()) as Json
      expect(models).toHaveLength(1)
      expect(models[0]).toMatchObject({ id: 'counted', tokens: { all: tokens, last_minute: tokens } })
      expect(models[0].routers.map(({ all }: { all: number[] }) => all)).toEqual(wanted)
      expect(models[0].routers.map(({ last_minute: recent }: Json) => sumOf(recent))).toEqual(wanted.map(sumOf))

      const page = await get('/', {}, site)
      expect(page.headers.get('content-type')).toMatch(/^text\/html/)
      expect(Number(page.headers.get('refresh'))).toBeGreaterThan(0)
      const html = await page.text()
      expect(html).toContain(`${tokens} tokens in the last minute`)
      expect(html).not.toContain('<script')
      const mean = sumOf(wanted[0] as number[]) / (wanted[0] as number[]).length
      expect(html).toContain(`expert 0: ${((wanted[0]?.[0] as number) / mean).toFixed(2)} times the mean`)
    } finally {
      await own.close(new Error('the test has ended'))
    }
  })

  test('are shown to people who have the key', async () => {
    const locked = createServeApp({ port: 8000, token: 'secret' })
    const basic = (key: string) => ({ authorization: `Basic ${Buffer.from(`anyone:${key}`).toString('base64')}` })
    const refused = await get('/', {}, locked)
    expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([401, 'Basic realm="choir serve"'])
    expect((await get('/', basic('wrong'), locked)).status).toBe(401)
    expect((await get('/', basic('secret'), locked)).status).toBe(200)
    // A browser that knows the password sends it from pages of other sites too.
    expect((await get('/metrics', basic('secret'), locked)).status).toBe(401)
    expect((await get('/v1/choir/experts', { authorization: 'Bearer secret' }, locked)).status).toBe(503)
  })
})
