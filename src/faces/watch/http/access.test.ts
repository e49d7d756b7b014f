import { Hono } from 'hono'
import { describe, expect, test } from 'vitest'
import { problemOf } from '../../http/problem.ts'
import { isLoopback } from '../../http/senders.ts'
import { access } from './access.ts'

const port = 6007
const token = 'a long token/+&='

function guarded(token?: string) {
  const app = new Hono()
  app.use(access({ port, token }))
  app.all('*', (c) => c.text('in'))
  app.onError((error, c) => c.text(error.message, problemOf(error).status))
  return (path: string, headers: Record<string, string>, method = 'GET') =>
    // Only the Host header counts; the host in the URL is never seen by a server.
    app.request(new Request(`http://server${path}`, { method, headers }))
}

const json = { 'content-type': 'application/json' }

describe('without a token', () => {
  const ask = guarded()

  test.each(['localhost:6007', '127.0.0.1:6007', '127.0.0.2:6007', '[::1]:6007', 'LOCALHOST:6007'])(
    '%s counts as this machine',
    async (host) => {
      expect((await ask('/', { host })).status).toBe(200)
    },
  )

  test.each([
    'evil.example:6007',
    'localhost.evil.example:6007',
    '127.0.0.1.evil.example:6007',
    'localhost:6008',
    'localhost',
    '10.0.0.1:6007',
    '',
  ])('a request to "%s" is refused: any name can be made to point here', async (host) => {
    expect((await ask('/', { host })).status).toBe(403)
  })

  test('the refusal explains how to tunnel', async () => {
    expect(await (await ask('/', { host: 'localhost:7000' })).text()).toContain('ssh -L 6007:localhost:6007')
  })
})

describe('POST', () => {
  const ask = guarded()
  const host = 'localhost:6007'

  test('JSON from our page or from a program is answered', async () => {
    expect((await ask('/', { host, ...json }, 'POST')).status).toBe(200)
    expect((await ask('/', { host, origin: `http://${host}`, ...json }, 'POST')).status).toBe(200)
    const withCharset = { host, 'content-type': 'Application/JSON; charset=utf-8' }
    expect((await ask('/', withCharset, 'POST')).status).toBe(200)
  })

  test.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data',
    'text/plain; application/json',
    '',
  ])('a content type that a form can send (%s) is refused', async (type) => {
    expect((await ask('/', { host, 'content-type': type }, 'POST')).status).toBe(415)
  })

  test.each(['http://evil.example', 'http://localhost:3000', 'null', 'http://localhost:6007.evil.example'])(
    'a request from a page of %s is refused',
    async (origin) => {
      expect((await ask('/', { host, origin, ...json }, 'POST')).status).toBe(403)
    },
  )
})

describe('with a token', () => {
  const ask = guarded(token)
  const host = 'machine.example:6007'
  const inAddress = new URLSearchParams({ token }).toString()

  test('requests without it are refused', async () => {
    for (const headers of [{ host }, { host: 'localhost:6007' }, { host, authorization: 'Bearer' }])
      expect((await ask('/', headers)).status).toBe(401)
    for (const wrong of ['', 'a', `${token}x`, token.slice(0, -1)]) {
      const query = new URLSearchParams({ token: wrong })
      expect((await ask(`/?${query}`, { host })).status).toBe(401)
      expect((await ask('/', { host, authorization: `Bearer ${wrong}` })).status).toBe(401)
      expect((await ask('/', { host, cookie: `choir-${port}=${encodeURIComponent(wrong)}` })).status).toBe(401)
    }
    expect((await ask('/', { host, ...json }, 'POST')).status).toBe(401)
  })

  test('the token is accepted as a Bearer token', async () => {
    expect((await ask('/', { host, authorization: `Bearer ${token}` })).status).toBe(200)
    expect((await ask('/', { host, authorization: `bearer ${token}`, ...json }, 'POST')).status).toBe(200)
  })

  test('a token in the address becomes a cookie and is removed from the address', async () => {
    const answer = await ask(`/?view=experts&${inAddress}&run=a`, { host })
    expect(answer.status).toBe(303)
    expect(answer.headers.get('location')).toBe('/?view=experts&run=a')
    const cookie = answer.headers.get('set-cookie') ?? ''
    expect(cookie).toMatch(/; HttpOnly/)
    expect(cookie).toMatch(/; SameSite=Lax/)
    const pair = cookie.split(';')[0] ?? ''
    expect((await ask('/', { host, cookie: pair })).status).toBe(200)
    expect((await ask('/', { host, cookie: pair, ...json }, 'POST')).status).toBe(200)
  })

  test('the redirect never leads to another machine', async () => {
    const answer = await ask(`//evil.example/?${inAddress}`, { host })
    expect(answer.headers.get('location')).toBe('/evil.example/')
  })

  test('a request from a page of another site is refused even with the token', async () => {
    const headers = { host, origin: 'http://evil.example', authorization: `Bearer ${token}`, ...json }
    expect((await ask('/', headers, 'POST')).status).toBe(403)
  })
})

test('loopback addresses are those that only this machine can reach', () => {
  for (const host of ['127.0.0.1', '127.1.2.3', 'localhost', '::1', '[::1]']) expect(isLoopback(host)).toBe(true)
  for (const host of ['0.0.0.0', '::', '10.0.0.1', 'localhost.example', '127.0.0.1.example', '1127.0.0.1', ''])
    expect(isLoopback(host)).toBe(false)
})
