import { expect, test } from 'vitest'
import { contrast, luminance } from '../../../core/charts/colour.ts'
import { heatColours } from './heat-colours.ts'

test('a diverging scale is lightest in the middle and equally wide on both sides', () => {
  const colours = heatColours([0.5, 3], 1)
  // The key covers the existing values, not the whole scale.
  expect(colours.shown).toEqual([0.5, 3])
  for (let i = 1; i <= 32; i++) {
    for (const side of [-1, 1]) {
      expect(luminance(colours.of(1 + side * (i / 16)))).toBeLessThan(luminance(colours.of(1 + side * ((i - 1) / 16))))
    }
  }
})

test('text on a cell has a contrast of at least 4.5:1', () => {
  for (const middle of [undefined, 0.5]) {
    const colours = heatColours([0, 1], middle)
    for (let i = 0; i <= 64; i++) {
      const ink = colours.ink(i / 64) === 'dark' ? '#000000' : '#ffffff'
      expect(contrast(colours.of(i / 64), ink)).toBeGreaterThanOrEqual(4.5)
    }
  }
})
