import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Painter, type PaintWorker, type Picture } from './painter.ts'

const pictureOf = (width: number): Picture => ({
  lines: [],
  x: { min: 0, max: 1 },
  y: { min: 0, max: 1 },
  log: false,
  size: { width, height: 1 },
  unit: 1,
})

/** A worker that paints when `finish` is called; pictures are identified by their width. */
class FakeWorker implements PaintWorker {
  onmessage: PaintWorker['onmessage'] = null
  onerror: PaintWorker['onerror'] = null
  readonly requests: number[] = []
  readonly closed: number[] = []

  postMessage({ size }: Picture): void {
    this.requests.push(size.width)
  }

  /** @returns whether there was something to paint */
  finish(done: number): boolean {
    const width = this.requests[done]
    if (width === undefined) return false
    const bitmap = { width, height: 1, close: () => void this.closed.push(width) }
    this.onmessage?.(new MessageEvent('message', { data: bitmap as ImageBitmap }))
    return true
  }
}

describe('Painter', () => {
  test('without a worker has failed, so that the page paints by itself', () => {
    expect(new Painter(null).hasFailed).toBe(true)
    expect(new Painter(new FakeWorker()).hasFailed).toBe(false)
  })

  test('paints one picture at a time, the newest of each owner, in order of request', () => {
    const worker = new FakeWorker()
    const painter = new Painter(worker)
    const [a, b] = [{}, {}]
    const painted: (number | undefined)[] = []
    const record = (bitmap: ImageBitmap | null) => painted.push(bitmap?.width)
    painter.request(a, pictureOf(1), record)
    painter.request(a, pictureOf(2), record)
    painter.request(b, pictureOf(3), record)
    painter.request(a, pictureOf(4), record)
    expect(worker.requests).toEqual([1])
    for (let done = 0; worker.finish(done); done++);
    expect(worker.requests).toEqual([1, 4, 3])
    expect(painted).toEqual([1, 4, 3])
    expect(worker.closed).toEqual([])
  })

  test('a cancelled picture is not painted, or closed if it is already being painted', () => {
    const worker = new FakeWorker()
    const painter = new Painter(worker)
    const [a, b] = [{}, {}]
    const refuse = () => expect.unreachable()
    painter.request(a, pictureOf(1), refuse)
    painter.request(b, pictureOf(2), refuse)
    painter.cancel(a)
    painter.cancel(b)
    for (let done = 0; worker.finish(done); done++);
    expect(worker.requests).toEqual([1])
    expect(worker.closed).toEqual([1])
  })

  test('when the worker fails, all waiting owners get null', () => {
    const worker = new FakeWorker()
    const painter = new Painter(worker)
    const received: unknown[] = []
    const [a, b, gone] = [{}, {}, {}]
    painter.request(a, pictureOf(1), (bitmap) => received.push(['a', bitmap]))
    painter.request(b, pictureOf(2), (bitmap) => received.push(['b', bitmap]))
    painter.request(gone, pictureOf(3), () => expect.unreachable())
    painter.cancel(gone)
    expect(painter.hasFailed).toBe(false)
    worker.onerror?.({} as ErrorEvent)
    expect(received).toEqual([
      ['a', null],
      ['b', null],
    ])
    expect(painter.hasFailed).toBe(true)
    expect(worker.requests).toEqual([1])
  })

  test('after any requests and cancellations every owner has its newest picture, and no picture is leaked', () => {
    const step = fc.record({ act: fc.constantFrom('request', 'request', 'cancel', 'finish'), owner: fc.nat(3) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const worker = new FakeWorker()
        const painter = new Painter(worker)
        const owners = [{}, {}, {}, {}]
        const newest = new Map<number, number>()
        const shown = new Map<number, number | undefined>()
        let [count, done, received] = [0, 0, 0]
        for (const { act, owner } of steps) {
          const who = owners[owner] as object
          if (act === 'request') {
            newest.set(owner, ++count)
            painter.request(who, pictureOf(count), (bitmap) => {
              received++
              shown.set(owner, bitmap?.width)
            })
          } else if (act === 'cancel') {
            painter.cancel(who)
            newest.delete(owner)
            shown.delete(owner)
          } else if (worker.finish(done)) done++
          expect(worker.requests.length - done).toBeLessThanOrEqual(1)
        }
        while (worker.finish(done)) done++
        expect(shown).toEqual(newest)
        expect(received + worker.closed.length).toBe(worker.requests.length)
      }),
    )
  })
})
