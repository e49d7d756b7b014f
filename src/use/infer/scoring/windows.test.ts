import fc from 'fast-check'
import { expect, test } from 'vitest'
import { scoringWindows } from './windows.ts'

const drawn = fc
  .record({ length: fc.integer({ min: 1, max: 60 }), sequence: fc.integer({ min: 1, max: 12 }) })
  .chain(({ length, sequence }) =>
    fc.record({
      length: fc.constant(length),
      sequence: fc.constant(sequence),
      from: fc.integer({ min: 1, max: length }),
      stride: fc.integer({ min: 1, max: sequence }),
    }),
  )

test('each token from the first scored one on is scored once, in order, by a window that reads the token before it', () => {
  fc.assert(
    fc.property(drawn, ({ length, from, sequence, stride }) => {
      let next = from
      for (const window of scoringWindows(length, from, sequence, stride)) {
        expect(window.from).toBe(next)
        expect(window.to).toBeGreaterThan(window.from)
        next = window.to
        expect(window.length).toBeLessThanOrEqual(sequence)
        expect(window.start).toBeLessThan(window.from)
        // The last token is never read, since nothing comes after it.
        expect(window.start + window.length).toBe(window.to - 1)
        const seen = window.from - window.start
        if (window.start > 0) expect(seen).toBeGreaterThan(sequence - stride)
      }
      expect(next).toBe(Math.max(from, length))
    }),
  )
})

test('the tokens before a scored token do not depend on where the text ends or where its scores begin', () => {
  const startOf = (token: number, windows: ReturnType<typeof scoringWindows>) =>
    windows.find(({ from, to }) => from <= token && token < to)?.start
  fc.assert(
    fc.property(drawn, ({ length, from, sequence, stride }) => {
      const whole = scoringWindows(length + 7, 1, sequence, stride)
      const part = scoringWindows(length, from, sequence, stride)
      for (let token = from; token < length; token++) expect(startOf(token, part)).toBe(startOf(token, whole))
    }),
  )
})

test('a text of 10 tokens in windows of 4: with a stride of 2 and of 4', () => {
  const places = (stride: number) =>
    scoringWindows(10, 1, 4, stride).map(({ start, length, from, to }) => [start, length, from, to])
  expect(places(2)).toEqual([
    [0, 4, 1, 5],
    [2, 4, 5, 7],
    [4, 4, 7, 9],
    [6, 3, 9, 10],
  ])
  expect(places(4)).toEqual([
    [0, 4, 1, 5],
    [4, 4, 5, 9],
    [8, 1, 9, 10],
  ])
})
