import { expect, test } from 'vitest'
import { colorOf, lineOf, oklch, patternOf, type Rgb, type Side } from './expert-colors.ts'

const experts = Array.from({ length: 128 }, (_, expert) => expert)
const themes = ['light', 'dark'] as const
/** Colours of text, slightly fainter than the text of the page. */
const text = { light: [40, 44, 50], dark: [220, 224, 230] } as const

/** Relative luminance, WCAG 2. */
function luminance(color: Rgb): number {
  const [red = 0, green = 0, blue = 0] = color.map((value) => {
    const share = value / 255
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}
function contrast(a: Rgb, b: Rgb): number {
  const [low = 0, high = 0] = [luminance(a), luminance(b)].sort((x, y) => x - y)
  return (high + 0.05) / (low + 0.05)
}

test.each(themes)('text is readable on every colour, theme %s', (theme) => {
  for (const expert of experts) expect(contrast(colorOf(expert, theme), text[theme])).toBeGreaterThan(4.5)
})

test.each(themes)('the underline contrasts with its background, theme %s', (theme) => {
  for (const expert of experts) expect(contrast(lineOf(expert, theme), colorOf(expert, theme))).toBeGreaterThan(2)
})

test.each(themes)('no two of 128 experts share a colour, and the first eight are far apart, theme %s', (theme) => {
  expect(new Set(experts.map((expert) => colorOf(expert, theme).join())).size).toBe(128)
  const distance = (a: Rgb, b: Rgb) => Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2])
  for (let a = 0; a < 8; a++)
    for (let b = 0; b < a; b++) expect(distance(colorOf(a, theme), colorOf(b, theme))).toBeGreaterThan(25)
})

test.each(themes)('none of 64 experts shares its colour with an expert of the run beside it, theme %s', (theme) => {
  const colours = (side: Side) => experts.slice(0, 64).map((expert) => colorOf(expert, theme, side))
  const [first, second] = [colours(0), colours(1)]
  const both = new Set([...first, ...second].map((color) => color.join()))
  expect(both.size).toBe(128)
  const distance = (a: Rgb, b: Rgb) => Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2])
  for (const a of first.slice(0, 8)) for (const b of second.slice(0, 8)) expect(distance(a, b)).toBeGreaterThan(25)
  for (const color of second) expect(contrast(color, text[theme])).toBeGreaterThan(4.5)
})

test('consecutive experts also differ in pattern', () => {
  for (const expert of experts) expect(patternOf(expert)).not.toBe(patternOf(expert + 1))
})

test('OKLCH matches reference colours', () => {
  expect(oklch(1, 0, 0)).toEqual([255, 255, 255])
  expect(oklch(0, 0, 0)).toEqual([0, 0, 0])
  // sRGB red, CSS Color 4.
  expect(oklch(0.62796, 0.25768, 29.234)).toEqual([255, 0, 0])
})
