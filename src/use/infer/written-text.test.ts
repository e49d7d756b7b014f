import fc from 'fast-check'
import { expect, test } from 'vitest'
import { StopScanner } from './written-text.ts'

/** Scans pieces of a text. Returns the shown text before the first stop, in pieces, and whether there was a stop. */
function scan(pieces: readonly string[], stops: readonly string[]): { shown: string[]; stopped: boolean } {
  const scanner = new StopScanner(stops)
  const shown: string[] = []
  for (const piece of pieces) {
    shown.push(scanner.push(piece))
    if (scanner.isStopped) return { shown, stopped: true }
  }
  return { shown: [...shown, scanner.end()], stopped: false }
}

test('a stop across pieces ends the text before it; text that only resembles a stop is shown once that is certain', () => {
  expect(scan(['one S', 'TO', 'P two'], ['STOP'])).toEqual({ shown: ['one ', '', ''], stopped: true })
  expect(scan(['one S', 'TO', 'NE'], ['STOP'])).toEqual({ shown: ['one ', '', 'STONE', ''], stopped: false })
  expect(scan(['a\n', '\nb'], ['\n\n'])).toEqual({ shown: ['a', ''], stopped: true })
  expect(scan(['no ', 'stops'], [])).toEqual({ shown: ['no ', 'stops', ''], stopped: false })
})

test('the stop that is complete first ends the text, and the longest stop if several are complete at once', () => {
  expect(scan(['xaab'], ['aab', 'ab']).shown.join('')).toBe('x')
  for (const pieces of [['xab', 'c'], ['xabc'], ['xa', 'b', 'c']])
    expect(scan(pieces, ['abc', 'b']).shown.join('')).toBe('xa')
})

test('however the text is cut into pieces, the text before the first complete stop is shown', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', '😀'), maxLength: 12 })
  const stops = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', '😀'), minLength: 1, maxLength: 4 }), {
    maxLength: 3,
  })
  fc.assert(
    fc.property(fc.array(letters, { maxLength: 5 }), stops, (pieces, texts) => {
      const whole = pieces.join('')
      const begun = Array.from({ length: whole.length + 1 }, (_, length) => whole.slice(0, length))
      const complete = begun.find((text) => texts.some((stop) => text.endsWith(stop)))
      const lengths = texts.filter((stop) => complete?.endsWith(stop)).map((stop) => stop.length)
      const { shown, stopped } = scan(pieces, texts)
      expect(stopped).toBe(complete !== undefined)
      expect(shown.join('')).toBe(complete === undefined ? whole : complete.slice(0, -Math.max(...lengths)))
    }),
    { numRuns: 2000 },
  )
})
