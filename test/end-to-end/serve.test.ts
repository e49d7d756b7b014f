/**
 * `choir serve` as programs use it: the official client of OpenAI, streams side by side, clients that vanish, bodies that
 * no client sends, and signals.
 *
 * @slow
 */

import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { Ajv2020 } from 'ajv/dist/2020.js'
import OpenAI, { APIError, NotFoundError, RateLimitError } from 'openai'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Fields } from '../../src/core/config/fields.ts'
import { undocumented } from '../../src/faces/cli/testing/documented-events.ts'
import { samples } from '../../src/use/foreign/testing/samples.ts'
import { writeFolder } from '../interchange/folders.ts'
import { qwen3Files, qwen3Keys } from '../interchange/tokenizers.ts'
import { type ChoirProcess, expectSuccess, Workspace } from './support.ts'

// Each test starts several processes, and on a busy machine a process takes seconds to start.
vi.setConfig({ testTimeout: 600_000, hookTimeout: 300_000 })

let workspace: Workspace
let server: ChoirProcess
let address: string
let client: OpenAI

/** Starts a server on a free port. Returns its process and address. */
async function serve(...args: string[]): Promise<{ server: ChoirProcess; address: string; client: OpenAI }> {
  const server = workspace.start('serve', ...args, '--port', '0', '--threads', '1', '--json')
  const line = await server.line(({ kind }) => kind === 'serve')
  expect(undocumented('serve', line)).toEqual([])
  const address = line.address as string
  return { server, address, client: new OpenAI({ baseURL: address, apiKey: 'none', maxRetries: 0 }) }
}

beforeAll(async () => {
  workspace = new Workspace()
  const config = workspace.config({ model: { sequence: 64 }, train: { steps: 6 } })
  await expectSuccess(workspace.start('train', config, '--out', workspace.file('run')))
  const keys = { ...qwen3Keys, max_position_embeddings: 1024 }
  writeFolder(workspace.file('chat'), samples.qwen3_moe as Fields, { files: qwen3Files, keys })
  ;({ server, address, client } = await serve('run', 'chat'))
})

afterAll(async () => {
  server?.kill('SIGINT')
  const ended = await server?.ended
  workspace.remove()
  // The server must not have ended by itself or written errors.
  if (ended) expect(ended).toMatchObject({ code: 0, stderr: '' })
})

interface Wish {
  readonly prompt: string
  readonly max_tokens: number
  readonly seed: number
}

/** The text that `choir generate` writes for a completion. */
async function generated({ prompt, max_tokens, seed }: Wish, ...more: string[]): Promise<string> {
  const sampling = ['--temperature', '1', '--top-k', '0', '--top-p', '1', '--threads', '1']
  const asked = ['--prompt', prompt, '--tokens', String(max_tokens), '--seed', String(seed)]
  const { stdout } = await expectSuccess(workspace.start('generate', 'run', ...asked, ...sampling, ...more, '--json'))
  return JSON.parse(stdout.trimEnd().split('\n').at(-1) as string).text
}

async function streamed(wish: Wish): Promise<string> {
  let text = ''
  const stream = await client.completions.create({ model: 'run', ...wish, stream: true })
  for await (const { choices } of stream) text += choices[0]?.text ?? ''
  return text
}

/** The value of a metric. */
async function metric(name: string): Promise<number> {
  const text = await (await fetch(new URL('/metrics', address))).text()
  return Number(new RegExp(`^${name}(?:\\{.*\\})? (.*)$`, 'm').exec(text)?.[1])
}

/** Waits until a metric has a value. */
async function until(name: string, holds: (value: number) => boolean): Promise<void> {
  while (!holds(await metric(name))) await delay(20)
}

const idle = () => until('choir_requests_running', (value) => value === 0)

/** A text that only its length ends: the most probable tokens of the run repeat each other. */
const endless = { model: 'run', prompt: 'a', temperature: 0, max_tokens: 60_000 }

test('the text of these tests that does not end by itself is one', async () => {
  const { choices } = await client.completions.create({ ...endless, max_tokens: 3000 })
  expect(choices[0]?.finish_reason).toBe('length')
})

describe("OpenAI's client", () => {
  const schema = {
    type: 'object',
    properties: { name: { type: 'string', maxLength: 8 }, size: { type: 'integer', minimum: 0, maximum: 99 } },
    required: ['name', 'size'],
    additionalProperties: false,
  }
  const response_format = { type: 'json_schema' as const, json_schema: { name: 'planet', strict: true, schema } }
  const isValid = new Ajv2020().compile(schema)

  test('gets values by a JSON Schema, several at once, whole and in a stream', async () => {
    const messages = [{ role: 'user' as const, content: 'Hi' }]
    const asked = { model: 'chat', messages, max_tokens: 120, seed: 3, n: 2, response_format }
    const { choices } = await client.chat.completions.create(asked)
    const texts = ['', '']
    for await (const { choices } of await client.chat.completions.create({ ...asked, stream: true }))
      for (const { index, delta } of choices) texts[index] += delta.content ?? ''
    expect(texts).toEqual(choices.map(({ message }) => message.content))
    for (const { finish_reason } of choices) expect(finish_reason).toBe('stop')
    for (const text of texts) expect(isValid(JSON.parse(text)), text).toBe(true)
  })

  test('gets the value by a JSON Schema that choir generate writes', async () => {
    const wish = { prompt: 'The people', max_tokens: 120, seed: 5 }
    const { choices } = await client.completions.create({ model: 'run', ...wish, ...{ response_format } })
    writeFileSync(workspace.file('planet.json'), JSON.stringify(schema))
    expect(choices[0]?.text).toBe(await generated(wish, '--json-schema', 'planet.json'))
    expect(isValid(JSON.parse(choices[0]?.text ?? ''))).toBe(true)
  })

  test('gets an error with the place of a keyword that is not supported', async () => {
    const messages = [{ role: 'user' as const, content: 'Hi' }]
    const json_schema = {
      name: 'planet',
      schema: { type: 'object', properties: { a: { type: 'string', pattern: 'a' } } },
    }
    await expect(
      client.chat.completions.create({
        model: 'chat',
        messages,
        response_format: { type: 'json_schema', json_schema },
      }),
    ).rejects.toMatchObject({ status: 400, param: 'response_format.json_schema.schema.properties.a.pattern' })
  })

  test('lists the models', async () => {
    const ids = []
    for await (const { id } of client.models.list()) ids.push(id)
    expect(ids).toEqual(['run', 'chat'])
    expect(await client.models.retrieve('run')).toMatchObject({ id: 'run', object: 'model' })
  })

  test('completes a text as choir generate does', async () => {
    const wish = { prompt: 'The people', max_tokens: 20, seed: 7 }
    const { choices, usage } = await client.completions.create({ model: 'run', ...wish })
    expect(choices[0]?.text).toBe(await generated(wish))
    expect(usage).toMatchObject({ prompt_tokens: 11, completion_tokens: 20, total_tokens: 31 })
    expect(usage?.prompt_tokens_details?.cached_tokens).toBe(0)
  })

  test('reads streams side by side, and each is the text that choir generate writes alone', async () => {
    // The context has 64 tokens: some prompts are read in a pass, and some texts are longer than the context.
    const wishes: Wish[] = [
      { prompt: 'The people', max_tokens: 150, seed: 1 },
      { prompt: 'The people of the states and the government', max_tokens: 90, seed: 2 },
      { prompt: '', max_tokens: 5, seed: 3 },
      { prompt: 'peace', max_tokens: 60, seed: 4 },
      { prompt: 'war and peace and union and law', max_tokens: 33, seed: 5 },
      { prompt: 'The people', max_tokens: 12, seed: 6 },
    ]
    const texts = await Promise.all(wishes.map(streamed))
    for (const [i, wish] of wishes.entries()) expect(texts[i], `text ${i}`).toBe(await generated(wish))
  })

  test('reads a system prompt that chats have in common once, and the answers are those of choir generate', async () => {
    const system = 'Answer in the words of the people. '.repeat(20)
    const ask = async (content: string) => {
      const messages = [
        { role: 'system' as const, content: system },
        { role: 'user' as const, content },
      ]
      const { choices, usage } = await client.chat.completions.create({
        ...{ model: 'chat', messages, temperature: 0, max_tokens: 5 },
      })
      return { text: choices[0]?.message.content, ...usage, cached: usage?.prompt_tokens_details?.cached_tokens ?? NaN }
    }
    const reused = await metric('choir_reused_prompt_tokens_total\\{model="chat"\\}')
    const first = await ask('Peace?')
    const second = await ask('And war?')
    const again = await ask('And war?')
    expect(first.cached).toBe(0)
    // All full blocks of 512 tokens, at least one, that the system prompt fills.
    expect(second.cached).toBeGreaterThan(0)
    expect(second.cached % 512).toBe(0)
    expect(again.cached).toBe(again.prompt_tokens)
    expect(again.text).toBe(second.text)
    const found = await metric('choir_reused_prompt_tokens_total\\{model="chat"\\}')
    expect(found - (Number.isNaN(reused) ? 0 : reused)).toBe(second.cached + again.cached)
    const asked = ['--system', system, '--message', 'And war?', '--temperature', '0', '--tokens', '5', '--threads', '1']
    const { stdout } = await expectSuccess(workspace.start('generate', 'chat', ...asked, '--json'))
    expect(second.text).toBe(JSON.parse(stdout.trimEnd().split('\n').at(-1) as string).text)
  })

  test('answers a chat as choir generate --message does, whole and in a stream', async () => {
    const sampling = ['--temperature', '0', '--tokens', '12', '--threads', '1']
    const asked = ['--system', 'Be brief.', '--message', 'Hi']
    const { stdout } = await expectSuccess(workspace.start('generate', 'chat', ...asked, ...sampling, '--json'))
    const expected = JSON.parse(stdout.trimEnd().split('\n').at(-1) as string).text
    const messages = [
      { role: 'system' as const, content: 'Be brief.' },
      { role: 'user' as const, content: [{ type: 'text' as const, text: 'Hi' }] },
    ]
    const chat = { model: 'chat', messages, temperature: 0, max_tokens: 12, logprobs: true, top_logprobs: 2 }
    const { choices } = await client.chat.completions.create(chat)
    expect(choices[0]?.message).toMatchObject({ role: 'assistant', content: expected })
    const rated = choices[0]?.logprobs?.content ?? []
    expect(rated).toHaveLength(12)
    for (const { bytes, logprob, top_logprobs } of rated) {
      expect(bytes?.length).toBeGreaterThan(0)
      expect(top_logprobs).toHaveLength(2)
      // The most probable token was taken.
      expect(top_logprobs[0]?.logprob).toBe(logprob)
    }
    const stream = client.chat.completions.stream(chat)
    expect(await stream.finalContent()).toBe(expected)
  })

  test('gets the experts of each token', async () => {
    const asked = { model: 'run', prompt: 'The', max_tokens: 3, seed: 1, choir: { routing: true } }
    const { choices } = await client.completions.create(asked)
    const { routing } = (choices[0] as unknown as { choir: { routing: { tokens: string[]; routers: Fields[] } } }).choir
    expect(routing.tokens).toHaveLength(7)
    expect(routing.routers.length).toBeGreaterThan(0)
    for (const { expert, gate, choices } of routing.routers) {
      expect(expert).toHaveLength(7 * (choices as number))
      expect(gate).toHaveLength(7 * (choices as number))
    }
  })

  test('gets errors of its own classes', async () => {
    const missing = client.completions.create({ model: 'gpt', prompt: 'a' })
    await expect(missing).rejects.toThrow(NotFoundError)
    await expect(missing).rejects.toMatchObject({ status: 404, code: 'model_not_found', param: 'model' })
    const chat = client.chat.completions.create({ model: 'run', messages: [{ role: 'user', content: 'Hi' }] })
    await expect(chat).rejects.toMatchObject({ status: 400, code: 'no_chat_template' })
  })
})

/** Opens a connection and sends the head of a request for a completion, with the beginning of its body. */
async function raw(body: string, head: readonly string[] = [`content-length: ${body.length}`]): Promise<Socket> {
  const { port, host } = new URL(address)
  const socket = connect(Number(port), '127.0.0.1')
  socket.on('error', () => {})
  await once(socket, 'connect')
  const lines = ['POST /v1/completions HTTP/1.1', `host: ${host}`, 'content-type: application/json', ...head]
  socket.write(`${lines.join('\r\n')}\r\n\r\n${body}`)
  return socket
}

const endlessStream = JSON.stringify({ ...endless, stream: true, logprobs: 10 })

describe('a client', () => {
  test('that is killed in a stream, or while it waits for a whole text, frees its place', async () => {
    const stream = await raw(endlessStream)
    await once(stream, 'data')
    stream.destroy()
    await idle()
    const whole = await raw(JSON.stringify(endless))
    await until('choir_requests_running', (value) => value > 0)
    whole.destroy()
    await idle()
    await until('choir_texts_running', (value) => value === 0)
  })

  test('that does not read blocks no other', async () => {
    const slow = await raw(endlessStream)
    await once(slow, 'data')
    slow.pause()
    const wish = { prompt: 'peace', max_tokens: 40, seed: 4 }
    expect(await streamed(wish)).toBe(await streamed(wish))
    slow.destroy()
    await idle()
  })

  test('that closes the stream with the client of OpenAI frees its place', async () => {
    const stream = await client.completions.create({ ...endless, stream: true })
    for await (const _ of stream) break
    await idle()
  })
})

describe('a hostile body is refused, and the server goes on:', () => {
  const answerOf = async (socket: Socket): Promise<string> => {
    const [data] = (await once(socket.setEncoding('utf8'), 'data')) as [string]
    socket.destroy()
    return data
  }
  afterAll(async () => {
    expect(await streamed({ prompt: 'a', max_tokens: 2, seed: 1 })).toBeTypeOf('string')
    await idle()
  })

  test.each<[string, string, readonly string[], RegExp]>([
    ['larger than the limit', '{', ['content-length: 1000000000'], /^HTTP\/1\.1 413 [\s\S]*at most 4194304 bytes/],
    ['no JSON', '{"prompt": ', ['content-length: 11'], /^HTTP\/1\.1 400 [\s\S]*not JSON/],
    ['no length', 'zzz', ['transfer-encoding: chunked'], /^HTTP\/1\.1 400 /],
    ['two lengths', '{}', ['content-length: 2', 'content-length: 3'], /^HTTP\/1\.1 400 /],
  ])('%s', async (_, body, head, expected) => {
    expect(await answerOf(await raw(body, head))).toMatch(expected)
  })

  test('a client that leaves in the middle of its body', async () => {
    const socket = await raw('{"prompt": "', ['content-length: 5000'])
    await delay(20)
    socket.destroy()
  })

  test.each([
    ['a form', { 'content-type': 'application/x-www-form-urlencoded' }, 'prompt=a', 415],
    ['nothing', { 'content-type': 'application/json' }, '', 400],
    ['lists in lists', { 'content-type': 'application/json' }, '['.repeat(1e6) + ']'.repeat(1e6), 400],
    ['a list of numbers', { 'content-type': 'application/json' }, `{"stop": [${'1,'.repeat(1e6)}1]}`, 400],
  ])('%s', async (_, headers, body, status) => {
    const answer = await fetch(`${address}/completions`, { method: 'POST', headers, body })
    expect(answer.status).toBe(status)
    expect(await answer.json()).toHaveProperty('error.message')
  })
})

test('further requests are refused while no place is free, and the client tries again', async () => {
  const small = await serve('run', '--streams', '1', '--queue', '0')
  const running = await small.client.completions.create({ ...endless, stream: true })
  const refused = small.client.completions.create({ ...endless, max_tokens: 1 })
  await expect(refused).rejects.toThrow(RateLimitError)
  const patient = small.client.withOptions({ maxRetries: 20 })
  const later = patient.completions.create({ ...endless, max_tokens: 1 })
  running.controller.abort()
  expect((await later).choices).toHaveLength(1)
  small.server.kill('SIGTERM')
  expect(await small.server.ended).toMatchObject({ code: 0, stderr: '' })
})

describe('after a signal', () => {
  test('running texts end, new requests are refused, and the exit code is 0', async () => {
    const { server, client } = await serve('run', '--grace', '10m')
    const asked = { ...endless, max_tokens: 3000 }
    const stream = await client.completions.create({ ...asked, stream: true })
    let text = ''
    let refused: unknown
    for await (const { choices } of stream) {
      if (text === '') {
        server.kill('SIGTERM')
        // The signal arrives between two requests; until then they are answered.
        while (refused === undefined)
          await client.completions.create({ ...asked, max_tokens: 1 }).catch((error: unknown) => {
            refused = error
          })
      }
      text += choices[0]?.text ?? ''
    }
    expect(refused).toBeInstanceOf(APIError)
    expect(refused).toMatchObject({ status: 503, code: 'server_stopping' })
    const { code, stderr } = await server.ended
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  })

  test('a text that is too long ends with an error when the time is over', async () => {
    const { server, client } = await serve('run', '--grace', '1s')
    const stream = await client.completions.create({ ...endless, n: 4, stream: true })
    const read = async () => {
      let isFirst = true
      for await (const _ of stream) {
        if (isFirst) server.kill('SIGINT')
        isFirst = false
      }
    }
    await expect(read()).rejects.toThrow('The server is stopping.')
    expect(await server.ended).toMatchObject({ code: 0, stderr: '' })
  })
})

describe('wrong usage is refused with exit code 2 and one message:', () => {
  test.each<[string, string[], RegExp]>([
    ['no model', ['serve'], /missing required argument 'model'/],
    ['a path without a model', ['serve', 'nowhere'], /no run in "nowhere"/],
    ['the same model twice', ['serve', 'run', './run'], /"\.\/run" is given twice/],
    [
      'other machines without a key',
      ['serve', 'run', '--host', '0.0.0.0'],
      /lets other machines use these models; add --token/,
    ],
    ['a short key', ['serve', 'run', '--token', 'abc'], /invalid --token: it has 3 characters/],
    ['a checkpoint that does not exist', ['serve', 'run', '--checkpoint', '999', '--port', '0'], /999/],
    [
      'more places than memory',
      ['serve', 'run', '--streams', '100000000', '--port', '0'],
      /invalid --streams: 100000000 \(each takes/,
    ],
    [
      'less memory than for a context',
      ['serve', 'run', '--context-memory', '1kB', '--port', '0'],
      /invalid --context-memory: 1\.00 kB \(expected at least/,
    ],
    [
      'more memory than there is',
      ['serve', 'run', '--context-memory', '900TB', '--port', '0'],
      /invalid --context-memory: 900 TB \(beside the weights there is memory for/,
    ],
  ])('%s', async (_, args, message) => {
    const { code, stdout, stderr } = await workspace.choir(...args)
    expect({ code, stdout, stderr }).toEqual({ code: 2, stdout: '', stderr: expect.stringMatching(message) })
    expect(stderr).toMatch(/^choir: /)
  })

  test('a port that is taken', async () => {
    const other = createServer()
    other.listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    const { code, stderr } = await workspace.choir('serve', 'run', '--port', String(port))
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining(`invalid --port: ${port} is taken`) })
    other.close()
  })
})
