/** Arithmetic of colours, which are texts such as `#006ab3`: channels, luminance, contrast, mixing. */

/** Red, green and blue, 0 to 255. */
export const channels = (colour: string): [red: number, green: number, blue: number] => [
  Number.parseInt(colour.slice(1, 3), 16),
  Number.parseInt(colour.slice(3, 5), 16),
  Number.parseInt(colour.slice(5, 7), 16),
]

/** Linear red, green and blue, 0 to 1. */
export function linearOf(colour: string): [red: number, green: number, blue: number] {
  const linear = (value: number) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
  const [red, green, blue] = channels(colour)
  return [linear(red / 255), linear(green / 255), linear(blue / 255)]
}

/** Relative luminance as defined by WCAG 2, 0 to 1. */
export function luminance(colour: string): number {
  const [red, green, blue] = linearOf(colour)
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}

/** Contrast as defined by WCAG 2, from 1 (the same luminance) to 21 (black and white). */
export function contrast(a: string, b: string): number {
  const [one, other] = [luminance(a), luminance(b)]
  return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05)
}

/** Black or white, whichever has more contrast with the ground. */
export const inkOn = (ground: string): '#000000' | '#ffffff' =>
  contrast(ground, '#000000') > contrast(ground, '#ffffff') ? '#000000' : '#ffffff'

/** The colour at a share (0 to 1) of the way along evenly spaced stops, mixed in sRGB. */
export function colourAlong(stops: readonly string[], share: number): string {
  const place = Math.min(1, Math.max(0, share)) * (stops.length - 1)
  const before = Math.min(Math.floor(place), stops.length - 2)
  const [from, to] = [channels(stops[before] ?? '#000000'), channels(stops[before + 1] ?? '#000000')]
  const mixed = from.map((value, i) => Math.round(value + ((to[i] ?? value) - value) * (place - before)))
  return `#${mixed.map((value) => value.toString(16).padStart(2, '0')).join('')}`
}
