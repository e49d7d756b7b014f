import { expect, it } from 'vitest'
import { inkOn } from '../../../src/core/charts/colour.ts'
import { numberText } from './draw.ts'
import { loadColor } from './scale.ts'

it('numbers have at most four digits', () => {
  expect([0, 0.004, 1, 2.345, 9.99, 9.996, 31.94, 127.6].map(numberText)).toEqual([
    '0.00',
    '0.00',
    '1.00',
    '2.35',
    '9.99',
    '10.0',
    '31.9',
    '128',
  ])
})

it.each(['light', 'dark'])('numbers can be read on every colour of the scale: %s', (theme) => {
  // WCAG 2, once more.
  const luminance = (colour: string) => {
    const linear = (at: number) => {
      const part = Number.parseInt(colour.slice(at, at + 2), 16)
      return part <= 10 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4
    }
    return 0.2126 * linear(1) + 0.7152 * linear(3) + 0.0722 * linear(5)
  }
  for (let share = -1; share <= 1; share += 0.05) {
    const ground = loadColor(share, theme === 'dark')
    const [low = 0, high = 0] = [luminance(ground), luminance(inkOn(ground))].sort((a, b) => a - b)
    expect((high + 0.05) / (low + 0.05)).toBeGreaterThan(4.5)
  }
})
