import { connect } from 'node:net'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ProblemError } from '../../src/faces/http/problem.ts'
import { type PageServer, serve } from '../../src/faces/http/serve.ts'
import { createApp } from '../../src/faces/watch/http/app.ts'
import { pageService } from '../../src/faces/watch/http/site.ts'
import { fakePage, fakeWatched } from '../../src/faces/watch/testing/fake-watched.ts'
import { fuzzTimeout, runs } from '../support/soak.ts'
import { faultOf } from './outcome.ts'
import { anyRequest } from './requests.ts'

const collection = fakeWatched()
const untraced = async () => {
  throw new ProblemError(404, 'Nothing is traced here.')
}
const tracing = { documents: untraced, trace: untraced, topTokens: untraced }
const appFor = (port: number) => createApp({ collection, tracing, page: fakePage, access: { port, token: undefined } })

test(
  'any request is answered, and never by a failure of the server',
  async () => {
    const app = appFor(6007)
    const host = 'localhost:6007'
    await fc.assert(
      fc.asyncProperty(anyRequest(host), async ({ path, init }) => {
        const answer = await app.fetch(new Request(`http://${host}${path}`, init))
        expect(answer.status).toBeLessThan(500)
        const isText = answer.status >= 400
        const text = isText ? await answer.text() : ''
        expect(faultOf({ code: 0, stderr: text })).toBeNull()
      }),
      runs(300, 'request'),
    )
    app.close()
  },
  fuzzTimeout,
)

let server: PageServer
beforeAll(async () => {
  server = await serve({ port: 0 }, pageService, ({ port }) => {
    const app = appFor(port)
    return { fetch: (request) => app.fetch(request), close: async () => app.close() }
  })
})
afterAll(() => server.close())

/** Sends bytes and returns what the server answers until it closes, or for half a second. */
function send(bytes: Uint8Array): Promise<string> {
  const { port } = new URL(server.address)
  return new Promise((resolve) => {
    let answer = ''
    const socket = connect(Number(port), '127.0.0.1', () => socket.end(bytes))
    socket.setTimeout(500, () => socket.destroy())
    socket.on('data', (data) => {
      answer += data.toString()
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve(answer))
  })
}

test(
  'any bytes leave a server that answers the next request',
  async () => {
    const words = fc.constantFrom(
      'GET / HTTP/1.1\r\n',
      'POST /api/trace HTTP/1.1\r\n',
      'Host: localhost\r\n',
      '\r\n',
      'Content-Length: -1\r\n',
    )
    const more = fc.constantFrom(
      'Content-Length: 99999999999\r\n',
      'Transfer-Encoding: chunked\r\n',
      'zz\r\n',
      'GET',
      'Host: \u0000\r\n',
      `X: ${'a'.repeat(300_000)}\r\n`,
      'Host: [::\r\n',
      '\u0016\u0003\u0001',
    )
    const bytes = fc.oneof(
      fc.array(fc.oneof(words, more), { maxLength: 6 }).map((parts) => Buffer.from(parts.join(''))),
      fc.uint8Array({ maxLength: 200 }),
    )
    await fc.assert(
      fc.asyncProperty(bytes, async (sent) => {
        expect(faultOf({ code: 0, stderr: await send(sent) })).toBeNull()
        expect((await fetch(`${server.address}api/collection`)).status).toBe(200)
      }),
      runs(60, 'request'),
    )
  },
  fuzzTimeout,
)
