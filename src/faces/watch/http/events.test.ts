import { Hono } from 'hono'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Events } from './events.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
})
afterEach(() => {
  vi.useRealTimers()
})

test('a quiet stream sends a heartbeat every 15 seconds', async () => {
  const events = new Events(() => () => {})
  const app = new Hono().get('/', (c) => events.answer(c))
  const reader = ((await app.request('/')).body as ReadableStream<Uint8Array>).getReader()
  const next = async () => new TextDecoder().decode((await reader.read()).value)
  expect(await next()).toBe(': choir\n\n')
  for (let i = 0; i < 2; i++) {
    const heartbeat = next()
    let isSent = false
    void heartbeat.then(() => {
      isSent = true
    })
    await vi.advanceTimersByTimeAsync(14_000)
    expect(isSent).toBe(false)
    await vi.advanceTimersByTimeAsync(1500)
    expect(await heartbeat).toBe(': still here\n\n')
  }
  events.close()
  expect((await reader.read()).done).toBe(true)
  expect(vi.getTimerCount()).toBe(0)
})
