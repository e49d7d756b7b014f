import { expect, test } from 'vitest'
import { paintMark } from './paint-mark.ts'
import { SvgSurface } from './svg-surface.ts'

const frame = {
  box: { left: 100, top: 20, width: 200, height: 50 },
  x: { min: 0, max: 400 },
  y: { min: 0, max: 1 },
  log: false,
}

test('the mark is a vertical line over the whole height, at its place on the axis', () => {
  const surface = new SvgSurface(400, 100)
  paintMark(surface, frame, 100, 1, { text: '#123456' })
  // A quarter of the axis is 50 of its 200 pixels.
  expect(String(surface)).toContain('points="150 20 150 70"')
  expect(String(surface)).toContain('#123456')
})
