/**
 * Background colours of tokens for many experts. Hues advance by the golden angle, so that consecutive experts are far
 * apart however many there are; two levels of lightness double the number of distinct colours. Not everybody can
 * distinguish 128 colours, so patterns of underlines and expert numbers also identify experts.
 */

export type Rgb = readonly [number, number, number]

/**
 * The first or the second of two runs side by side. Expert 3 of one run has nothing in common with expert 3 of the other,
 * so they have different colours.
 */
export type Side = 0 | 1

/** Degrees between the hues of a number in both runs: the turn that keeps the colours of 8 and 8 experts farthest apart. */
const SIDE_TURN = 42
const goldenAngle = 180 * (3 - Math.sqrt(5))
/** Lightness behind dark text and behind light text. */
const lightness = { light: [0.9, 0.81], dark: [0.33, 0.43] } as const
const chroma = { light: 0.085, dark: 0.085 } as const

export const patterns = ['solid', 'dashed', 'dotted', 'double'] as const
export const patternOf = (expert: number): (typeof patterns)[number] => patterns[expert % patterns.length] ?? 'solid'

/** Background of a token. */
export const colorOf = (expert: number, theme: 'light' | 'dark', side: Side = 0): Rgb =>
  shade(expert, theme, side, 0, 1)
/** Underline of a token: the same hue, with more contrast to the page. */
export const lineOf = (expert: number, theme: 'light' | 'dark', side: Side = 0): Rgb =>
  shade(expert, theme, side, theme === 'light' ? -0.3 : 0.28, 1.35)

export const css = ([red, green, blue]: Rgb): string => `rgb(${red} ${green} ${blue})`

function shade(expert: number, theme: 'light' | 'dark', side: Side, lightnessShift: number, chromaFactor: number): Rgb {
  const level = lightness[theme][expert % 2 === 0 ? 0 : 1]
  return oklch(level + lightnessShift, chroma[theme] * chromaFactor, 25 + side * SIDE_TURN + expert * goldenAngle)
}

/** Converts Ottosson's OKLCH to sRGB, 0 to 255, clipped to the gamut. */
export function oklch(l: number, c: number, hue: number): Rgb {
  const radians = (hue * Math.PI) / 180
  const a = c * Math.cos(radians)
  const b = c * Math.sin(radians)
  const long = (l + 0.3963377774 * a + 0.2158037573 * b) ** 3
  const medium = (l - 0.1055613458 * a - 0.0638541728 * b) ** 3
  const short = (l - 0.0894841775 * a - 1.291485548 * b) ** 3
  return [
    encoded(4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short),
    encoded(-1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short),
    encoded(-0.0041960863 * long - 0.7034186147 * medium + 1.707614701 * short),
  ]
}

function encoded(linear: number): number {
  const value = linear <= 0.0031308 ? 12.92 * linear : 1.055 * linear ** (1 / 2.4) - 0.055
  return Math.round(255 * Math.max(0, Math.min(1, value)))
}
