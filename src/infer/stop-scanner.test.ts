import fc from 'fast-check'
import { expect, test } from 'vitest'
import { StopScanner } from './stop-scanner.ts'

/** The text before the first stop, from pieces; and whether there was one. */
function scan(pieces: readonly string[], stops: readonly string[]): { shown: string[]; stopped: boolean } {
  const scanner = new StopScanner(stops)
  const shown: string[] = []
  for (const piece of pieces) {
    shown.push(scanner.push(piece))
    if (scanner.isStopped) return { shown, stopped: true }
  }
  return { shown: [...shown, scanner.end()], stopped: false }
}

test('a stop across pieces ends the text before it; what only resembles one is shown when that is certain', () => {
  expect(scan(['one S', 'TO', 'P two'], ['STOP'])).toEqual({ shown: ['one ', '', ''], stopped: true })
  expect(scan(['one S', 'TO', 'NE'], ['STOP'])).toEqual({ shown: ['one ', '', 'STONE', ''], stopped: false })
  expect(scan(['a\n', '\nb'], ['\n\n'])).toEqual({ shown: ['a', ''], stopped: true })
  expect(scan(['no ', 'stops'], [])).toEqual({ shown: ['no ', 'stops', ''], stopped: false })
})

test('of several stops the first in the text ends it, even if a longer one began before', () => {
  expect(scan(['xaab'], ['aab', 'ab']).shown.join('')).toBe('x')
  expect(scan(['xab', 'y'], ['abc', 'b']).shown.join('')).toBe('xa')
})

test('in any pieces, the text shown is that before the first stop', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', '😀'), maxLength: 12 })
  const stops = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', '😀'), minLength: 1, maxLength: 4 }), {
    maxLength: 3,
  })
  fc.assert(
    fc.property(fc.array(letters, { maxLength: 5 }), stops, (pieces, texts) => {
      const whole = pieces.join('')
      const places = texts.map((stop) => whole.indexOf(stop)).filter((at) => at >= 0)
      const { shown, stopped } = scan(pieces, texts)
      expect(stopped).toBe(places.length > 0)
      expect(shown.join('')).toBe(stopped ? whole.slice(0, Math.min(...places)) : whole)
    }),
    { numRuns: 1000 },
  )
})
