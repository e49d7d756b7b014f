/**
 * `choir serve` in a crowd: 200 connections at the same time, among them readers that are slow, clients that are killed
 * and bodies that no client sends. Every text that is read to its end is the text that the server writes alone, the
 * memory of the process is bounded, and nothing is left over.
 *
 * @slow
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { type ChoirProcess, expectSuccess, Workspace } from './support.ts'

vi.setConfig({ testTimeout: 600_000, hookTimeout: 300_000 })

let workspace: Workspace
let server: ChoirProcess
let address: string

beforeAll(async () => {
  workspace = new Workspace()
  const config = workspace.config({ model: { sequence: 64 }, train: { steps: 6 } })
  await expectSuccess(workspace.start('train', config, '--out', workspace.file('run')))
  const places = ['--streams', '12', '--queue', '400']
  server = workspace.start('serve', 'run', ...places, '--port', '0', '--threads', '1', '--json')
  address = (await server.line(({ kind }) => kind === 'serve')).address as string
})

afterAll(async () => {
  server?.kill('SIGINT')
  const ended = await server?.ended
  workspace.remove()
  // Nothing in this file may end the server or make it write an error.
  if (ended) expect(ended).toMatchObject({ code: 0, stderr: '' })
})

interface Wish {
  readonly prompt: string
  readonly max_tokens: number
  readonly seed: number
  readonly logprobs?: number
}

const prompts = ['The people', '', 'peace', 'The people of the states and the government', 'war and peace and union']

const WISHES = 50

/** Fifty texts of different lengths, some of them beyond the context of 64 tokens. Further ones are asked for again. */
const wishOf = (i: number): Wish => {
  const wish = i % WISHES
  return { prompt: prompts[wish % prompts.length] as string, max_tokens: 5 + ((wish * 7) % 90), seed: wish }
}

/** A text that only its length ends, with much to send for each token. */
const endless = { prompt: 'a', temperature: 0, max_tokens: 60_000, logprobs: 10 }

async function connected(): Promise<Socket> {
  const socket = connect(Number(new URL(address).port), '127.0.0.1')
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

const head = (length: number) =>
  `POST /v1/completions HTTP/1.1\r\nhost: ${new URL(address).host}\r\ncontent-type: application/json\r\n` +
  `content-length: ${length}\r\nconnection: close\r\n\r\n`

async function sent(body: string | Buffer, length = Buffer.byteLength(body)): Promise<Socket> {
  const socket = await connected()
  socket.write(head(length))
  socket.write(body)
  return socket
}

/** Asks for a stream. Returns what the text of its events adds up to, read with a pause after each part. */
async function streamed(wish: Wish, pauseMs = 0): Promise<string> {
  const socket = await sent(JSON.stringify({ ...wish, stream: true }))
  let received = ''
  for await (const part of socket.setEncoding('utf8')) {
    received += part
    if (pauseMs > 0) await delay(pauseMs)
  }
  expect(received).toMatch(/^HTTP\/1\.1 200 /)
  expect(received).toContain('data: [DONE]')
  // Parts of the body are in chunks, each of which is a line here.
  const events = received.split(/\r?\n/).filter((line) => line.startsWith('data: {'))
  return events.map((line) => JSON.parse(line.slice('data: '.length)).choices[0]?.text ?? '').join('')
}

/** The status of the answer to a body. */
async function statusOf(body: string | Buffer, length?: number): Promise<number> {
  const socket = await sent(body, length)
  const [data] = (await once(socket.setEncoding('utf8'), 'data')) as [string]
  socket.destroy()
  return Number(/^HTTP\/1\.1 (\d+) /.exec(data)?.[1])
}

async function metric(name: string): Promise<number> {
  const text = await (await fetch(new URL('/metrics', address))).text()
  return Number(new RegExp(`^${name}(?:\\{.*\\})? (.*)$`, 'm').exec(text)?.[1])
}

/** Memory of the server in MiB: now, or the most that it has had. */
const memory = (field: 'VmRSS' | 'VmHWM'): number =>
  Number(new RegExp(`^${field}:\\s*(\\d+) kB`, 'm').exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))?.[1]) /
  1024

const range = (count: number) => Array.from({ length: count }, (_, i) => i)

const hostile: readonly [string | Buffer, number][] = [
  ['{"prompt": ', 400],
  ['['.repeat(1e6) + ']'.repeat(1e6), 400],
  [`{"metadata": ${'{"a":'.repeat(1e5)}1${'}'.repeat(1e5)}}`, 400],
  ['{"prompt": {"a": [1, {"b": null}]}}', 400],
  ['{"max_tokens": "12", "prompt": ["a", 1, null]}', 400],
  ['{"max_tokens": 1e400}', 400],
  ['"a"', 400],
  [Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]), 400],
  [Buffer.from('{"prompt": "\xff\xc0\x80", "max_tokens": 1}', 'latin1'), 400],
  [Buffer.alloc(1000), 400],
  [`{"prompt": "${'a'.repeat(3 << 20)}"}`, 400],
  [`{"prompt": "${'a'.repeat(5 << 20)}"}`, 413],
]

test('200 connections at once: texts are those that are written alone, and memory is bounded', async () => {
  const alone: string[] = []
  for (const i of range(WISHES)) alone.push(await streamed(wishOf(i)))
  const before = memory('VmRSS')
  const crowd = [
    // 100 that read at once, 50 that read slowly.
    ...range(150).map(async (i) => {
      expect(await streamed(wishOf(i), i < 100 ? 0 : 3), `text ${i}`).toBe(alone[i % WISHES])
    }),
    // 30 that are killed: before the answer begins, or in the middle of it.
    ...range(30).map(async (i) => {
      const socket = await sent(JSON.stringify({ ...endless, stream: i % 3 !== 0, n: 1 + (i % 2) }))
      if (i % 3 === 1) await once(socket, 'data')
      else await delay(i * 10)
      socket.destroy()
    }),
    // Bodies that no client sends.
    ...hostile.map(async ([body, status]) => {
      expect(await statusOf(body), String(body).slice(0, 60)).toBe(status)
    }),
    // 8 that send a byte now and then, and leave.
    ...range(8).map(async (i) => {
      const socket = i % 2 === 0 ? await connected() : await sent('{"prompt": "', 5000)
      const bytes = i % 2 === 0 ? head(2) : 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'
      for (const byte of bytes.slice(0, 40)) {
        socket.write(byte)
        await delay(50)
      }
      socket.destroy()
    }),
  ]
  expect(crowd.length).toBe(200)
  await Promise.all(crowd)
  for (const name of ['choir_requests_running', 'choir_texts_running', 'choir_texts_waiting'])
    await expect.poll(() => metric(name), { timeout: 60_000 }).toBe(0)
  expect(await streamed(wishOf(3))).toBe(alone[3])
  // The bodies of the crowd have 15 MB, and a body of 3 MiB is read as text and as JSON.
  expect(memory('VmHWM') - before).toBeLessThan(250)
})

test('readers that stop reading need no memory, and do not keep others waiting', async () => {
  const sockets = await Promise.all(
    range(11).map(async () => {
      const socket = await sent(JSON.stringify({ ...endless, stream: true }))
      await once(socket, 'data')
      socket.pause()
      return socket
    }),
  )
  // Their texts stand still when the buffers of the connections are full.
  let written = -1
  await expect
    .poll(
      async () => {
        const now = await metric('choir_written_tokens_total')
        const stands = now === written
        written = now
        return stands
      },
      { timeout: 60_000, interval: 500 },
    )
    .toBe(true)
  const before = memory('VmRSS')
  // One place is left, for one text after the other.
  const texts = await Promise.all(range(20).map((i) => streamed(wishOf(i))))
  expect(texts).toHaveLength(20)
  expect(await metric('choir_texts_running')).toBe(11)
  expect(memory('VmRSS') - before).toBeLessThan(100)
  for (const socket of sockets) socket.destroy()
  await expect.poll(() => metric('choir_requests_running'), { timeout: 60_000 }).toBe(0)
})

test('a client that does not finish the head of its request is sent away, and keeps nobody waiting', async () => {
  const sockets = await Promise.all(range(50).map(connected))
  for (const socket of sockets) socket.write('POST /v1/completions HTTP/1.1\r\nx: ')
  const closed = Promise.all(sockets.map((socket) => once(socket.resume(), 'close')))
  const text = await streamed(wishOf(1))
  expect(await streamed(wishOf(1))).toBe(text)
  // Node gives a client 60 seconds for the head, and looks every 30 seconds.
  const trickle = setInterval(() => {
    for (const socket of sockets) socket.write('a')
  }, 1000)
  try {
    await Promise.race([closed, delay(120_000, undefined, { ref: false }).then(() => expect.fail('still connected'))])
  } finally {
    clearInterval(trickle)
  }
})
