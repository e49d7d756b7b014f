import { describe, expect, test } from 'vitest'
import { ProblemError } from '../../http/problem.ts'
import type { Collection, SeriesAnswer } from '../api.ts'
import { fakePage, fakeWatched } from '../testing/fake-watched.ts'
import type { Tracing } from '../tracing/tracing.ts'
import { createApp } from './app.ts'

const host = 'localhost:6007'

function served(tracing: Partial<Tracing> = {}) {
  const collection = fakeWatched()
  const unasked = () => Promise.reject(new Error('not asked for'))
  const app = createApp({
    collection,
    tracing: { documents: unasked, trace: unasked, topTokens: unasked, ...tracing },
    page: fakePage,
    access: { port: 6007, token: undefined },
  })
  const get = async (path: string) => app.fetch(new Request(`http://${host}${path}`, { headers: { host } }))
  const post = async (path: string, body: unknown) =>
    app.fetch(
      new Request(`http://${host}${path}`, {
        method: 'POST',
        headers: { host, 'content-type': 'application/json' },
        body: typeof body === 'string' ? body : JSON.stringify(body),
      }),
    )
  return { app, collection, get, post }
}

const problem = async (answer: Response): Promise<string> => {
  const { problem, ...rest } = (await answer.json()) as { problem: string }
  expect(rest).toEqual({})
  return problem
}

describe('runs', () => {
  const { get, collection } = served()

  test('the collection describes all runs', async () => {
    const answer = (await (await get('/api/collection')).json()) as Collection
    expect(answer).toEqual(collection.describe())
  })

  test('series come from the runs that have the metric, in the requested order, with the given query', async () => {
    // A run named twice is sent once: an address could name it a thousand times.
    const path = '/api/series?runs=t1,gone,a1,t1,a1&metric=train/loss&x=tokens&smoothing=0.6&points=100&from=-1.5&to='
    const answer = (await (await get(path)).json()) as SeriesAnswer
    expect(answer).toMatchObject({ metric: 'train/loss', x: 'tokens', series: [{ run: 't1' }, { run: 'a1' }] })
    expect(collection.asked.at(-1)).toEqual(['train/loss', { x: 'tokens', smoothing: 0.6, points: 100, from: -1.5 }])
    expect(await (await get('/api/series?runs=a1&metric=1e3')).json()).toEqual({ metric: '1e3', x: 'step', series: [] })
  })

  test('the record of a failure is sent as it is, and a run without one has none', async () => {
    const answer = await get('/api/failure?run=a1')
    expect(answer.headers.get('content-type')).toBe('application/json')
    expect(await answer.text()).toBe('{"step":6}')
    const none = await get('/api/failure?run=d1')
    expect(none.status).toBe(404)
    expect(await problem(none)).toBe('The run demo has no record of a failure.')
  })

  test('loads and histories are exactly the requested floats', async () => {
    const loads = await get('/api/routing/loads?run=a1&from=1&to=2')
    expect(new Float32Array(await loads.arrayBuffer())).toEqual(Float32Array.from({ length: 16 }, (_, i) => 4 + i / 4))
    expect((await (await get('/api/routing/loads?run=a1')).arrayBuffer()).byteLength).toBe(3 * 2 * 2 * 4 * 4)
    // Snapshots that do not exist (any more) are left out.
    for (const [range, snapshots] of [
      ['from=2&to=9', 1],
      ['from=5&to=9', 0],
    ] as const)
      expect((await (await get(`/api/routing/loads?run=a1&${range}`)).arrayBuffer()).byteLength).toBe(snapshots * 64)
    const history = await get('/api/routing/history?run=a1&router=1')
    expect(new Float32Array(await history.arrayBuffer())[0]).toBe(100)
    expect(await (await get('/api/routing/summary?run=a1&router=1')).json()).toMatchObject({
      load_cv: [0.5, null, 0.25],
    })
    expect(await (await get('/api/routing?run=a1')).json()).toMatchObject({ steps: [10, 20, 30] })
    expect(await (await get('/api/ranks?run=a1&span=5&step=20')).json()).toMatchObject({ used: 5, to: 20 })
    expect(await (await get('/api/ranks?run=a1')).json()).toMatchObject({ used: 20, to: 30 })
  })

  test.each([
    ['/api/series?runs=a1&metric=m&x=hours', 400, 'invalid x: "hours" (expected step, tokens, time or flops)'],
    [
      '/api/series?runs=a1&metric=m&smoothing=1',
      400,
      'invalid smoothing: 1 (expected a number at least 0 and below 1)',
    ],
    ['/api/series?runs=a1&metric=m&points=99999', 400, 'invalid points: 99999'],
    ['/api/series?runs=a1&metric=m&from=now', 400, 'invalid from: "now"'],
    ['/api/series?metric=m', 400, 'runs'],
    ['/api/series?runs=a1&metric=m&smothing=0', 400, 'smoothing'],
    ['/api/routing?run=../../etc/passwd', 404, 'no such run'],
    ['/api/routing?run=d1', 404, 'dense'],
    ['/api/routing/loads?run=a1&from=2&to=1', 400, '2 and 1'],
    ['/api/routing/loads?run=a1&from=-1', 400, 'invalid from: -1'],
    ['/api/routing/loads?run=w1', 400, 'at most 67108864 bytes at a time; this is 480000000'],
    ['/api/routing/history?run=w1&router=0', 400, 'this is 240000000'],
    ['/api/routing/history?run=a1&router=2', 404, 'unknown router: 2'],
    ['/api/ranks?run=d1', 404, 'has no ranks'],
    ['/api/ranks?run=a1&span=0', 400, 'invalid span: 0'],
    ['/api/routing/summary?run=a1&router=0.5', 400, 'invalid router: 0.5'],
    ['/api/nothing', 404, '/api/nothing'],
  ])('%s gets status %d and a problem', async (path, status, message) => {
    const answer = await get(path)
    expect(answer.status).toBe(status)
    expect(await problem(answer)).toContain(message)
  })
})

describe('the page', () => {
  const { get, post } = served()

  test('is revalidated on every load; hashed files are cached for ever', async () => {
    const page = await get('/?view=experts')
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8')
    expect(page.headers.get('cache-control')).toBe('no-cache')
    expect(await page.text()).toBe('<!doctype html>')
    expect((await get('/assets/index-abc.js')).headers.get('cache-control')).toContain('immutable')
  })

  test.each(['/index.html', '/assets/', '/assets/../../package.json', '/%2e%2e/package.json', '/..%2fpackage.json'])(
    '%s is not one of its files',
    async (path) => {
      expect((await get(path)).status).toBe(404)
    },
  )

  test('a browser gets errors as a page, a program as JSON', async () => {
    const { app } = served()
    const ask = (accept: string) =>
      app.fetch(new Request('http://localhost:6007/<b>no', { headers: { host: 'localhost:6007', accept } }))
    const page = await ask('text/html,application/xhtml+xml')
    expect([page.status, page.headers.get('content-type')]).toEqual([404, 'text/html; charset=UTF-8'])
    expect(await page.text()).toMatch(/There is nothing at [^<]*no\./)
    expect(Object.keys((await (await ask('*/*')).json()) as object)).toEqual(['problem'])
  })

  test('every response has the security headers', async () => {
    const answers = [get('/'), get('/nothing'), get('/api/collection'), get('/api/events'), get('/api/series')]
    for (const answer of await Promise.all([...answers, post('/api/trace', '{')])) {
      const policy = answer.headers.get('content-security-policy') ?? ''
      expect(policy).toContain("default-src 'self'")
      expect(policy).toContain("frame-ancestors 'none'")
      expect(policy).not.toContain('unsafe')
      expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
      expect(answer.headers.get('referrer-policy')).toBe('no-referrer')
      expect(answer.headers.get('cross-origin-resource-policy')).toBe('same-origin')
      expect(answer.headers.get('cross-origin-opener-policy')).toBe('same-origin')
      await answer.body?.cancel()
    }
  })

  test('a refused request has the security headers too', async () => {
    const { app } = served()
    const answer = await app.fetch(new Request('http://evil.example/', { headers: { host: 'evil.example' } }))
    expect(answer.status).toBe(403)
    expect(answer.headers.get('content-security-policy')).toContain("default-src 'self'")
  })
})

describe('tracing', () => {
  const trace = { run: 'a1', step: 1, loss: 2, tokens: [], cut: false, routers: [] }

  test('a text or a document is traced', async () => {
    const asked: unknown[] = []
    const { post } = served({
      trace: async ({ id }, what) => {
        asked.push([id, what])
        return trace
      },
    })
    expect(await (await post('/api/trace', { run: 'a1', text: '<b>7</b>' })).json()).toEqual(trace)
    await post('/api/trace', { run: 't1', document: 3 })
    expect(asked).toEqual([
      ['a1', { text: '<b>7</b>' }],
      ['t1', { document: 3 }],
    ])
  })

  test.each([
    ['/api/trace', '{"run', 400, 'not JSON'],
    ['/api/trace', [], 400, 'expected'],
    ['/api/trace', { run: 'a1' }, 400, 'either a text or'],
    ['/api/trace', { run: 'a1', text: 'a', document: 0 }, 400, 'either a text or'],
    ['/api/trace', { run: 'a1', text: ' \n' }, 400, 'some text'],
    ['/api/trace', { run: 'a1', text: 3 }, 400, 'invalid text: 3'],
    ['/api/trace', { run: 'gone', text: 'a' }, 404, 'no such run'],
    ['/api/trace', { run: 'a1', text: 'a'.repeat(2 ** 20) }, 413, 'at most 1048576 bytes'],
    ['/api/top-tokens', { run: 'a1', router: 5, expert: 0 }, 404, 'unknown router: 5'],
    ['/api/top-tokens', { run: 'a1', router: 0, expert: 4 }, 404, 'experts 0 to 3'],
    ['/api/top-tokens', { run: 'd1', router: 0, expert: 0 }, 404, 'dense'],
  ])('%s %j gets status %d', async (path, body, status, message) => {
    const answer = await served().post(path, body)
    expect(answer.status).toBe(status)
    expect(await problem(answer)).toContain(message)
  })

  test('an error keeps its status and message', async () => {
    const { get } = served({ documents: () => Promise.reject(new ProblemError(409, 'no checkpoint yet')) })
    const answer = await get('/api/documents?run=a1')
    expect(answer.status).toBe(409)
    expect(await problem(answer)).toBe('no checkpoint yet')
  })
})

describe('events', () => {
  /** Reads until the text has arrived. */
  async function until(reader: ReadableStreamDefaultReader<Uint8Array>, text: string): Promise<string> {
    let read = ''
    while (!read.includes(text)) {
      const { value, done } = await reader.read()
      if (done) throw new Error(`the stream ended after ${JSON.stringify(read)}`)
      read += new TextDecoder().decode(value)
    }
    return read
  }

  test('every change is sent; changes that come together are merged', async () => {
    const { get, collection } = served()
    const answer = await get('/api/events')
    expect(answer.headers.get('content-type')).toBe('text/event-stream')
    const reader = (answer.body as ReadableStream<Uint8Array>).getReader()
    await until(reader, ': choir\n\n')
    collection.change({ version: 8, runs: ['a1'] })
    collection.change({ version: 9, runs: ['t1', 'a1'] })
    const data = JSON.stringify({ version: 9, runs: ['a1', 't1'] })
    expect(await until(reader, data)).toMatch(/^event: change\ndata: /)
    collection.change({ version: 10, runs: [] })
    await until(reader, '"version":10')
    await reader.cancel()
  })

  test('a page that disconnects removes its listener, and closing ends the other streams', async () => {
    const { app, get, collection } = served()
    const readers = await Promise.all(
      [0, 1].map(async () => ((await get('/api/events')).body as ReadableStream<Uint8Array>).getReader()),
    )
    for (const reader of readers) await until(reader, ': choir')
    expect(collection.listeners.size).toBe(2)
    await readers[0]?.cancel()
    await expect.poll(() => collection.listeners.size).toBe(1)
    app.close()
    expect(await readers[1]?.read()).toEqual({ value: undefined, done: true })
    expect(collection.listeners.size).toBe(0)
  })
})
