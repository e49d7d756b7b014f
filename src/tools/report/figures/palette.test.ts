import { expect, test } from 'vitest'
import { heatColours } from './heat-colours.ts'
import { categorical, linearOf, luminance, markOf, type Scheme, surface } from './palette.ts'

const schemes: readonly Scheme[] = ['light', 'dark']

type Triple = readonly [number, number, number]
type Matrix = readonly [Triple, Triple, Triple]

/** Colour vision as matrices on linear RGB, by Machado, Oliveira and Fernandes (2009) at full severity. */
const visions: Readonly<Record<string, Matrix>> = {
  usual: [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  protanopia: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deuteranopia: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
}

const times = (matrix: Matrix, [a, b, c]: Triple): Triple => {
  const row = ([x, y, z]: Triple) => x * a + y * b + z * c
  return [row(matrix[0]), row(matrix[1]), row(matrix[2])]
}

/** A colour in Ottosson's Oklab, in which distances are about proportional to visible differences. */
function oklab(rgb: Triple): Triple {
  const cone = times(
    [
      [0.4122214708, 0.5363325363, 0.0514459929],
      [0.2119034982, 0.6806995451, 0.1073969566],
      [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    rgb.map((value) => Math.min(1, Math.max(0, value))) as unknown as Triple,
  )
  return times(
    [
      [0.2104542553, 0.793617785, -0.0040720468],
      [1.9779984951, -2.428592205, 0.4505937099],
      [0.0259040371, 0.7827717662, -0.808675766],
    ],
    cone.map(Math.cbrt) as unknown as Triple,
  )
}

/** Visible difference of two colours, in hundredths of the difference between black and white. */
function difference(a: string, b: string, vision: Matrix): number {
  const [x, y] = [oklab(times(vision, linearOf(a))), oklab(times(vision, linearOf(b)))]
  return 100 * Math.hypot(x[0] - y[0], x[1] - y[1], x[2] - y[2])
}

const contrast = (a: string, b: string): number => {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y) as [number, number]
  return (high + 0.05) / (low + 0.05)
}

test('contrast matches WCAG', () => {
  expect(contrast('#000000', '#ffffff')).toBeCloseTo(21)
  expect(contrast('#777777', '#ffffff')).toBeCloseTo(4.48, 2)
})

test.each(schemes)('every colour of the %s palette has a contrast of 3:1 to its background', (scheme) => {
  for (const colour of categorical[scheme]) expect(contrast(colour, surface[scheme]), colour).toBeGreaterThanOrEqual(3)
})

test.each(schemes.flatMap((scheme) => Object.entries(visions).map(([name, vision]) => ({ scheme, name, vision }))))(
  'neighbours of the $scheme palette are at least 12 apart with $name vision, and any two at least 7',
  (given) => {
    const colours = categorical[given.scheme]
    for (const [i, a] of colours.entries()) {
      const next = colours[(i + 1) % colours.length] ?? a
      expect(difference(a, next, given.vision), `${a} ${next}`).toBeGreaterThan(12)
      for (const b of colours.slice(i + 1)) expect(difference(a, b, given.vision), `${a} ${b}`).toBeGreaterThan(7)
    }
  },
)

test('forty series are drawn in forty ways, and neighbours differ in mark and dash', () => {
  const marks = Array.from({ length: 40 }, (_, i) => markOf(i))
  expect(new Set(marks.map(({ colour, dash }) => `${colour} ${dash}`)).size).toBe(40)
  for (const [i, mark] of marks.slice(1).entries()) {
    expect(mark.shape).not.toBe(marks[i]?.shape)
    expect(mark.dash).not.toBe(marks[i]?.dash)
  }
})

test('a sequential scale becomes lighter with every step, so that it works in grey', () => {
  const colours = heatColours([0, 1], undefined)
  const steps = Array.from({ length: 65 }, (_, i) => luminance(colours.of(i / 64)))
  for (const [i, value] of steps.slice(1).entries()) expect(value).toBeGreaterThan(steps[i] ?? 0)
})

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
