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

/** Paints when it is told to; a picture is known by its width. */
class FakeWorker implements PaintWorker {
  onmessage: PaintWorker['onmessage'] = null
  onerror: PaintWorker['onerror'] = null
  readonly asked: number[] = []
  readonly closed: number[] = []

  postMessage({ size }: Picture): void {
    this.asked.push(size.width)
  }

  /** @returns whether there was something to paint */
  finish(done: number): boolean {
    const width = this.asked[done]
    if (width === undefined) return false
    const bitmap = { width, height: 1, close: () => void this.closed.push(width) }
    this.onmessage?.(new MessageEvent('message', { data: bitmap as ImageBitmap }))
    return true
  }
}

describe('Painter', () => {
  test('paints one at a time, of each owner the newest, in the order of waiting', () => {
    const worker = new FakeWorker()
    const painter = new Painter(worker)
    const [a, b] = [{}, {}]
    const painted: (number | undefined)[] = []
    const note = (bitmap: ImageBitmap | null) => painted.push(bitmap?.width)
    painter.want(a, pictureOf(1), note)
    painter.want(a, pictureOf(2), note)
    painter.want(b, pictureOf(3), note)
    painter.want(a, pictureOf(4), note)
    expect(worker.asked).toEqual([1])
    for (let done = 0; worker.finish(done); done++);
    expect(worker.asked).toEqual([1, 4, 3])
    expect(painted).toEqual([1, 4, 3])
    expect(worker.closed).toEqual([])
  })

  test('what nobody waits for any more is not painted, or closed when it comes', () => {
    const worker = new FakeWorker()
    const painter = new Painter(worker)
    const [a, b] = [{}, {}]
    const refuse = () => expect.unreachable()
    painter.want(a, pictureOf(1), refuse)
    painter.want(b, pictureOf(2), refuse)
    painter.forget(a)
    painter.forget(b)
    for (let done = 0; worker.finish(done); done++);
    expect(worker.asked).toEqual([1])
    expect(worker.closed).toEqual([1])
  })

  test('of a worker that fails nobody waits for a picture, and all who waited are told', () => {
    const worker = new FakeWorker()
    const painter = new Painter(worker)
    const told: unknown[] = []
    const [a, b, gone] = [{}, {}, {}]
    painter.want(a, pictureOf(1), (bitmap) => told.push(['a', bitmap]))
    painter.want(b, pictureOf(2), (bitmap) => told.push(['b', bitmap]))
    painter.want(gone, pictureOf(3), () => expect.unreachable())
    painter.forget(gone)
    expect(painter.hasFailed).toBe(false)
    worker.onerror?.({} as ErrorEvent)
    expect(told).toEqual([
      ['a', null],
      ['b', null],
    ])
    expect(painter.hasFailed).toBe(true)
    expect(worker.asked).toEqual([1])
  })

  test('whatever is wanted and forgotten, every owner ends with its newest picture, and none is lost', () => {
    const step = fc.record({ act: fc.constantFrom('want', 'want', 'forget', 'finish'), owner: fc.nat(3) })
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
          if (act === 'want') {
            newest.set(owner, ++count)
            painter.want(who, pictureOf(count), (bitmap) => {
              received++
              shown.set(owner, bitmap?.width)
            })
          } else if (act === 'forget') {
            painter.forget(who)
            newest.delete(owner)
            shown.delete(owner)
          } else if (worker.finish(done)) done++
          expect(worker.asked.length - done).toBeLessThanOrEqual(1)
        }
        while (worker.finish(done)) done++
        expect(shown).toEqual(newest)
        expect(received + worker.closed.length).toBe(worker.asked.length)
      }),
    )
  })
})
