/** Tests the server on real ports. */
import { createServer, request } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { gunzipSync } from 'node:zlib'
import { afterEach, describe, expect, test } from 'vitest'
import { UsageError } from '../../../core/errors.ts'
import type { PageServer, ServerAddress } from '../../http/serve.ts'
import { fakePage, fakeWatched } from '../testing/fake-watched.ts'
import { serveWatched, startPlay, startWatch } from './server.ts'

const servers: { close(): unknown }[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close()
})

async function serve(place: ServerAddress = {}): Promise<PageServer> {
  const server = await serveWatched(fakeWatched(), fakePage, place)
  servers.push(server)
  return server
}

/** Occupies a port, as another program would. */
async function occupyPort(port: number): Promise<number> {
  const other = createServer()
  await new Promise<void>((resolve, reject) => other.once('error', reject).listen(port, '127.0.0.1', () => resolve()))
  servers.push(other)
  return (other.address() as AddressInfo).port
}

describe('an address', () => {
  test('is served at once, and no longer after it is closed', async () => {
    const { address, close } = await serve({ port: 0 })
    expect(address).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/)
    expect(await (await fetch(address)).text()).toBe('<!doctype html>')
    expect(await (await fetch(`${address}api/collection`)).json()).toMatchObject({ roots: ['runs'] })
    await close()
    await expect(fetch(address)).rejects.toThrow()
  })

  test('answers TRACE, which the Fetch standard forbids, with the supported methods', async () => {
    const { port } = new URL((await serve({ port: 0 })).address)
    const socket = connect(Number(port), '127.0.0.1').setEncoding('utf8')
    socket.end(`TRACE / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: close\r\n\r\n`)
    const answer = (await socket.toArray()).join('')
    expect(answer).toMatch(/^HTTP\/1\.1 405 /)
    expect(answer).toContain('{"problem":"The method TRACE is not supported (expected GET, HEAD or POST)."}')
  })

  test('has by default the first free port from 6007 on', async () => {
    const ports = await Promise.all(
      [serve(), serve()].map(async (server) => Number(new URL((await server).address).port)),
    )
    expect(Math.min(...ports)).toBeGreaterThanOrEqual(6007)
    expect(Math.max(...ports)).toBeLessThan(6057)
    expect(new Set(ports).size).toBe(2)
  })

  test('may name thousands of runs', async () => {
    const { address } = await serve({ port: 0 })
    const url = new URL('/api/series?metric=m', address)
    url.searchParams.set('runs', Array.from({ length: 5000 }, (_, run) => `run${1e6 + run}`).join(','))
    expect((await fetch(url)).status).toBe(200)
  })

  test('includes the token and loses it when it is opened; a request without the token is refused', async () => {
    const { address } = await serve({ port: 0, host: '0.0.0.0', token: 'only we know' })
    const url = new URL(address)
    expect(url.searchParams.get('token')).toBe('only we know')
    url.hostname = '127.0.0.1'
    const first = await fetch(url, { redirect: 'manual' })
    expect(first.headers.get('location')).toBe('/')
    const cookie = first.headers.get('set-cookie')?.split(';')[0] ?? ''
    expect((await fetch(new URL('/', url), { headers: { cookie } })).status).toBe(200)
    expect((await fetch(new URL('/', url))).status).toBe(401)
  })
})

describe('wrong usage', () => {
  test('is a text that does not exist', async () => {
    await expect(startWatch({ roots: ['src'], data: ['no-such-text'], port: 0 })).rejects.toThrow(
      new UsageError('invalid data: "no-such-text" (there is no such file or folder)'),
    )
  })

  test('is a given port that is taken', async () => {
    const port = await occupyPort(0)
    await expect(serve({ port })).rejects.toThrow(
      new UsageError(`invalid port: ${port} is taken by another program (choose another, or leave port out)`),
    )
  })

  test('is an address of another machine', async () => {
    await expect(serve({ port: 0, host: '192.0.2.1', token: 'long enough' })).rejects.toThrow(UsageError)
    await expect(serve({ port: 0, host: '192.0.2.1', token: 'long enough' })).rejects.toThrow(
      'invalid host: "192.0.2.1"',
    )
  })

  test.each(['0.0.0.0', '::', '10.1.2.3', 'machine.example'])('is the address %s without a token', async (host) => {
    await expect(serve({ port: 0, host })).rejects.toThrow(UsageError)
    await expect(serve({ port: 0, host })).rejects.toThrow('add token=')
  })

  test('is a token that can be guessed', async () => {
    await expect(serve({ port: 0, token: 'abc' })).rejects.toThrow('invalid token: it has 3 characters')
  })
})

test('a name that was made to point here is refused over a real connection', async () => {
  const { address } = await serve({ port: 0 })
  const { port } = new URL(address)
  const status = await new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port, headers: { host: `evil.example:${port}` } }, (answer) => {
      answer.resume()
      resolve(answer.statusCode)
    })
      .on('error', reject)
      .end()
  })
  expect(status).toBe(403)
})

test('a request may have no body, or a body of unknown length', async () => {
  const { address } = await serve({ port: 0 })
  const post = (pieces: readonly string[]) =>
    new Promise<[status: number | undefined, text: string]>((resolve, reject) => {
      const headers = { 'content-type': 'application/json', 'transfer-encoding': 'chunked' }
      const asked = request(`${address}api/trace`, { method: 'POST', headers }, (answer) => {
        let text = ''
        answer.on('data', (data) => {
          text += data
        })
        answer.on('end', () => resolve([answer.statusCode, text]))
      }).on('error', reject)
      for (const piece of pieces) asked.write(piece)
      asked.end()
    })
  expect(await post([])).toEqual([400, '{"problem":"The request is not JSON."}'])
  expect(await post(['{"run": "gone", ', '"text": "a"}'])).toEqual([404, expect.stringContaining('no such run')])
  expect(await post(['"', 'a'.repeat(2 ** 20), '"'])).toEqual([413, expect.stringContaining('1048576 bytes')])
})

test('closing ends open event streams', async () => {
  const { address, close } = await serve({ port: 0 })
  const answer = await fetch(`${address}api/events`)
  const reader = answer.body?.getReader()
  await reader?.read()
  await close()
  // The stream has ended or was cut off, but it is not open.
  await reader?.read().then(
    ({ done }) => expect(done).toBe(true),
    () => undefined,
  )
})

test('choir play serves its page to this machine only, and asks the server for nothing else', async () => {
  const server = await startPlay({ port: 0 })
  servers.push(server)
  const { address } = server
  const page = await fetch(address)
  const html = await page.text()
  expect(page.headers.get('content-security-policy')).toContain("default-src 'self'")
  const files = [...html.matchAll(/(?:src|href)="(\.[^"]+)"/g)].map(([, path]) => new URL(path ?? '', address))
  expect(files.length).toBeGreaterThan(1)
  for (const file of [...files, new URL('speeches.bin', address), new URL('routing.html', address)])
    expect((await fetch(file)).status, file.href).toBe(200)
  // The code is compressed on the way, and the speeches are compressed in their file.
  const script = files.find(({ pathname }) => pathname.endsWith('.js')) as URL
  const plain = await fetch(script, { headers: { 'accept-encoding': 'identity' } })
  const zipped = await fetch(script, { headers: { 'accept-encoding': 'gzip' } })
  expect([plain, zipped].map(({ headers }) => headers.get('content-encoding'))).toEqual([null, 'gzip'])
  expect(await zipped.text()).toBe(await plain.text())
  const speeches = await fetch(new URL('speeches.bin', address), { headers: { 'accept-encoding': 'gzip' } })
  expect(speeches.headers.get('content-encoding')).toBe(null)
  const documents = JSON.parse(gunzipSync(await speeches.arrayBuffer()).toString())
  expect(documents[0]).toEqual({ name: expect.stringMatching(/^1790_.*\.json$/), content: expect.any(String) })
  expect((await fetch(`${address}api/collection`)).status).toBe(404)
  // A request under the name of another site, which was made to point here.
  const status = await new Promise((resolve) => {
    request(address, { headers: { host: 'evil.example' } }, ({ statusCode }) => resolve(statusCode)).end()
  })
  expect(status).toBe(403)
})
