import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { ink } from '../../tools/report/figures/style.ts'
import { colourAlong, contrast, linearOf, luminance } from './colour.ts'
import { categorical, diverging, lineOrder, type Scheme, sequential } from './palette.ts'

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
  tritanopia: [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
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

/** Backgrounds behind series: of the figures of reports, and of the dashboard's plots, panes and rows. */
function backgrounds(scheme: Scheme): string[] {
  const css = readFileSync(new URL('../../../web/src/style.css', import.meta.url), 'utf8')
  const rule = css.split(/^}/m).find((text) => text.includes(`color-scheme: ${scheme};`)) ?? ''
  const found = ['back', 'raised', 'hover'].map(
    (name) => new RegExp(`--${name}: (#[0-9a-f]{6});`).exec(rule)?.[1] ?? '',
  )
  return [ink[scheme].back, ...found]
}

test('contrast matches WCAG', () => {
  expect(contrast('#000000', '#ffffff')).toBeCloseTo(21)
  expect(contrast('#777777', '#ffffff')).toBeCloseTo(4.48, 2)
})

test.each(schemes)('the %s palette has ten colours with a contrast of 3:1 to its backgrounds', (scheme) => {
  const behind = backgrounds(scheme)
  expect(behind.every((colour) => /^#[0-9a-f]{6}$/.test(colour))).toBe(true)
  expect(categorical[scheme].length).toBe(10)
  for (const colour of categorical[scheme])
    for (const back of behind) expect(contrast(colour, back), `${colour} on ${back}`).toBeGreaterThanOrEqual(3)
})

/**
 * Smallest distances of any two colours and of neighbours. Tritanopia, the rarest, has a smaller limit: with it blue and
 * green are alike, which other vision needs.
 */
const limits: Readonly<Record<string, { readonly any: number; readonly neighbours: number }>> = {
  usual: { any: 12.5, neighbours: 19 },
  protanopia: { any: 9.5, neighbours: 12 },
  deuteranopia: { any: 9.5, neighbours: 12 },
  tritanopia: { any: 7.5, neighbours: 8.5 },
}

test.each(schemes.flatMap((scheme) => Object.keys(limits).map((name) => ({ scheme, name }))))(
  'any two colours of the $scheme palette are distinguishable with $name vision, neighbours more so',
  ({ scheme, name }) => {
    const [vision, limit] = [visions[name], limits[name]]
    if (vision === undefined || limit === undefined) throw new Error(`no matrix for ${name}`)
    const colours = categorical[scheme]
    for (const [i, a] of colours.entries()) {
      const next = colours[(i + 1) % colours.length] ?? a
      expect(difference(a, next, vision), `${a} ${next}`).toBeGreaterThan(limit.neighbours)
      for (const b of colours.slice(i + 1)) expect(difference(a, b, vision), `${a} ${b}`).toBeGreaterThan(limit.any)
    }
  },
)

/** Smallest distances of the first four colours of lines, of usual vision and of the two frequent deficiencies. */
const firstFour = { usual: 24, protanopia: 14, deuteranopia: 14 } as const

test.each(schemes)('lines on %s have each colour once, the first four far apart, and neighbours too', (scheme) => {
  const order = lineOrder[scheme]
  expect([...order].sort((a, b) => a - b)).toEqual(categorical[scheme].map((_, i) => i))
  const colours = order.map((i) => categorical[scheme][i] as string)
  for (const [name, far] of Object.entries(firstFour)) {
    const vision = visions[name] as Matrix
    for (const [i, a] of colours.entries()) {
      const next = colours[(i + 1) % colours.length] as string
      expect(difference(a, next, vision), `${a} ${next}, ${name}`).toBeGreaterThan(limits[name]?.neighbours ?? far)
      for (const b of colours.slice(i + 1, i < 4 ? 4 : 0))
        expect(difference(a, b, vision), `${a} ${b}, ${name}`).toBeGreaterThan(far)
    }
  }
})

test.each(schemes)('two purples are not neighbours among the lines on %s', (scheme) => {
  const isPurple = (colour: string) => {
    const [, a, b] = oklab(linearOf(colour))
    const hue = ((Math.atan2(b, a) * 180) / Math.PI + 360) % 360
    return Math.hypot(a, b) > 0.04 && hue >= 285 && hue < 345
  }
  const purple = lineOrder[scheme].map((i) => isPurple(categorical[scheme][i] as string))
  expect(purple.filter((is) => is).length).toBeGreaterThan(0)
  expect(purple.filter((is, i) => is && purple[(i + 1) % purple.length])).toEqual([])
})

test.each(schemes)('at most one colour of the %s palette is a blue', (scheme) => {
  const blues = categorical[scheme].filter((colour) => {
    const [, a, b] = oklab(linearOf(colour))
    const hue = ((Math.atan2(b, a) * 180) / Math.PI + 360) % 360
    // In Oklab, teal is near 210 degrees and violet near 300; the greys of text have hardly any chroma.
    return Math.hypot(a, b) > 0.04 && hue > 230 && hue < 285
  })
  expect(blues).toHaveLength(1)
})

test('the sequential scale becomes lighter with every step, so that it works in grey', () => {
  const steps = Array.from({ length: 65 }, (_, i) => luminance(colourAlong(sequential, i / 64)))
  for (const [i, value] of steps.slice(1).entries()) expect(value).toBeGreaterThan(steps[i] ?? 0)
})

test.each(schemes)('from the middle, the diverging scale on %s departs from the background on both sides', (scheme) => {
  const back = ink[scheme].back
  for (const side of [-1, 1]) {
    const along = (i: number) => contrast(colourAlong(diverging[scheme], 0.5 + (side * i) / 64), back)
    for (let i = 1; i <= 32; i++) expect(along(i)).toBeGreaterThan(along(i - 1))
  }
})
