/** Tests of the ring between real threads. This thread is the courier; posters run from the build, as in a training. */
import { Worker } from 'node:worker_threads'
import { afterEach, describe, expect, test } from 'vitest'
import { Inbox } from './inbox.ts'
import { COLLECTIVE_CHANNEL, createOrders, type Order, type OrdersSize, type Transfer } from './orders.ts'
import { OrderRing } from './ring.ts'

const seed = Number(process.env.CHOIR_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31))
console.info(`ring: CHOIR_TEST_SEED=${seed}`)
let state = seed | 1
function draw(below: number): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return Math.floor((state / 2 ** 32) * below)
}

const built = new URL('../../../../dist/engine/world/mpi/ring.js', import.meta.url).href
const workers: Worker[] = []
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.terminate()))
})

/** Runs a function body in a thread, with `ring`, `data` and `post` (to this thread). */
function thread(orders: SharedArrayBuffer, body: string, data: unknown): Worker {
  const code = `
    const { workerData: { built, orders, data }, parentPort } = require('node:worker_threads')
    const post = (message) => parentPort.postMessage(message)
    import(built).then(({ OrderRing }) => { const ring = new OrderRing(orders); ${body} })`
  const worker = new Worker(code, { eval: true, workerData: { built, orders, data }, execArgv: [] })
  workers.push(worker)
  return worker
}

const message = <T>(worker: Worker): Promise<T> =>
  new Promise((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })

/** Lets other threads run. */
const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1))

function setup(size?: OrdersSize) {
  const orders = createOrders(size)
  return { orders, ring: new OrderRing(orders), inbox: new Inbox(orders) }
}

const send = (bytes: number, address = 0x7fff_1234_5678): Transfer => ({ peer: 3, direction: 'send', address, bytes })
const receive = (bytes: number, address = 2 ** 47): Transfer => ({ peer: 0, direction: 'receive', address, bytes })

describe('orders', () => {
  test('arrive as they were posted, without transfers of zero bytes', () => {
    const { ring, inbox } = setup()
    const large = 3 * 2 ** 40 + 1
    expect(ring.post(7, [send(8), receive(0), receive(large), send(0)])).toBe(0)
    expect(ring.post(COLLECTIVE_CHANNEL, [], true)).toBe(1)
    expect(inbox.take()).toEqual({ ticket: 0, channel: 7, reports: false, transfers: [send(8), receive(large)] })
    expect(inbox.take()).toEqual({ ticket: 1, channel: COLLECTIVE_CHANNEL, reports: true, transfers: [] })
    expect(inbox.take()).toBeUndefined()
  })

  test('end in any sequence', () => {
    const { ring, inbox } = setup()
    const tickets = [1, 2, 3].map((channel) => ring.post(channel, [send(8)]))
    inbox.finish(2)
    inbox.finish(0)
    expect(tickets.map((ticket) => ring.isDone(ticket))).toEqual([true, false, true])
    ring.wait(2)
    ring.wait(0)
  })

  test('have a channel within the range of tags', () => {
    const { ring } = setup()
    for (const channel of [-1, 0.5, 4096, Number.NaN])
      expect(() => ring.post(channel, [])).toThrow(`internal: invalid channel ${channel} (expected`)
  })

  test.each([
    ['a large ring', undefined],
    ['a ring smaller than an order, with few slots', { ringNumbers: 16, slots: 4 }],
  ])('of several threads arrive whole and end when they are done, in %s', { timeout: 60_000 }, async (_, size) => {
    const { orders, inbox } = setup(size)
    const threads = 3
    const each = 300
    const doneOf = new Int32Array(new SharedArrayBuffer(threads * each * 4))
    // A thread posts orders whose content follows from thread and index, and waits for each after a few more.
    const body = `
      const { thread, each, doneOf } = data
      let early = 0, unordered = 0, last = -1
      const open = []
      const waitForFirst = () => {
        const ticket = open.shift()
        ring.wait(ticket)
        if (Atomics.load(doneOf, ticket) !== 1 || !ring.isDone(ticket)) early++
      }
      for (let i = 0; i < each; i++) {
        const transfers = Array.from({ length: (i * 7) % 12 }, (_, k) => (
          { peer: k, direction: k % 2 ? 'send' : 'receive', address: thread * 1e6 + i, bytes: k + 1 }))
        const ticket = ring.post(thread, transfers)
        if (ticket <= last) unordered++
        last = ticket
        open.push(ticket)
        if (open.length > 2) waitForFirst()
      }
      while (open.length > 0) waitForFirst()
      post({ early, unordered })`
    const results = Array.from({ length: threads }, (_, index) =>
      message(thread(orders, body, { thread: index, each, doneOf })),
    )
    const next = new Array<number>(threads).fill(0)
    const open: Order[] = []
    let taken = 0
    while (taken < threads * each || open.length > 0) {
      const order = inbox.take()
      if (order) {
        const { channel, ticket, transfers } = order
        expect(ticket).toBe(taken++)
        const i = next[channel] as number
        next[channel] = i + 1
        expect(transfers).toEqual(
          Array.from({ length: (i * 7) % 12 }, (_, k) => ({
            peer: k,
            direction: k % 2 ? 'send' : 'receive',
            address: channel * 1e6 + i,
            bytes: k + 1,
          })),
        )
        open.push(order)
      }
      if (open.length > 0 && (!order || draw(2) === 0)) {
        const [{ ticket }] = open.splice(draw(open.length), 1) as [Order]
        Atomics.store(doneOf, ticket, 1)
        inbox.finish(ticket)
      } else if (!order) await pause()
    }
    expect(next).toEqual([each, each, each])
    for (const result of await Promise.all(results)) expect(result).toEqual({ early: 0, unordered: 0 })
  })
})

describe('the courier', () => {
  test('is woken by an order, a close and an abort', async () => {
    const { orders, ring, inbox } = setup()
    for (const [action, check] of [
      ['ring.post(1, [])', () => expect(inbox.take()?.channel).toBe(1)],
      ['ring.close()', () => expect(inbox.command()).toBe(1)],
      ['ring.abort(9)', () => expect([inbox.command(), inbox.exitCode()]).toEqual([2, 9])],
    ] as const) {
      const bell = inbox.bell()
      thread(orders, `setTimeout(() => ${action}, 20)`, null)
      inbox.sleep(bell) // Until the bell rings: forever, if it does not.
      check()
    }
    expect(ring.isDone(0)).toBe(false)
  })

  test('sleeps no longer than asked, and not at all after the bell', () => {
    const { ring, inbox } = setup()
    const begin = performance.now()
    inbox.sleep(inbox.bell(), 5)
    expect(performance.now() - begin).toBeGreaterThan(4)
    const bell = inbox.bell()
    ring.post(1, [])
    inbox.sleep(bell)
  })
})

describe('a failure of the courier', () => {
  test('is thrown by threads that wait for an order, for space, for a slot and for their turn', async () => {
    const { orders, ring, inbox } = setup({ ringNumbers: 16, slots: 4 })
    const first = ring.post(1, [send(8)])
    const actions = [
      `ring.wait(${first})`,
      `ring.post(1, Array(9).fill({ peer: 1, direction: 'send', address: 0, bytes: 1 }))`,
      'for (let i = 0; i < 5; i++) ring.post(2, [])',
    ]
    const threads = actions.map((action) =>
      thread(orders, `post('begins'); try { ${action}; post('no error') } catch (error) { post(error.message) }`, null),
    )
    await Promise.all(threads.map((worker) => message(worker)))
    await new Promise((resolve) => setTimeout(resolve, 100))
    const errors = threads.map((worker) => message<string>(worker))
    const text = 'rank 1 (höst, PID 7) does not answer'
    inbox.fail(text)
    expect(await Promise.all(errors)).toEqual([text, text, text])
    expect(() => ring.post(1, [])).toThrow(text)
    expect(() => ring.isDone(first)).toThrow(text)
    expect(() => ring.wait(first)).toThrow(text)
  })

  test('may have a text of any length', () => {
    const { ring, inbox } = setup()
    inbox.fail('é'.repeat(5000))
    expect(() => ring.wait(0)).toThrow(/^é{2000,}$/)
  })
})
