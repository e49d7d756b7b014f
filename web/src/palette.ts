/** Colours that people with any colour vision can tell apart. */

/**
 * Of lines: Okabe and Ito 2008, without black and yellow, and four of Paul Tol's "bright" and "vibrant" schemes.
 * Each is readable on white and on near-black.
 */
const lines = [
  '#0072b2',
  '#d55e00',
  '#009e73',
  '#cc79a7',
  '#56b4e9',
  '#e69f00',
  '#aa3377',
  '#228833',
  '#ee3377',
  '#4477aa',
]
const dashes: readonly (readonly number[])[] = [[], [8, 4], [2, 3], [10, 3, 2, 3]]

export interface LineStyle {
  readonly color: string
  readonly dash: readonly number[]
}

/** The same for a run wherever and whenever it is shown. */
export function styleOf(run: string): LineStyle {
  let hash = 2166136261
  for (const character of run) hash = Math.imul(hash ^ character.charCodeAt(0), 16777619) >>> 0
  return {
    color: lines[hash % lines.length] as string,
    dash: dashes[Math.floor(hash / lines.length) % dashes.length] ?? [],
  }
}

/**
 * Load over mean, on a scale of octaves: blue below 1, white (or near-black) at 1, orange above, saturated at an
 * eighth and at eight times. Blue and orange differ for every colour vision, and both ends also differ in lightness
 * from the middle.
 * @returns [red, green, blue], 0 to 255
 */
export function loadColor(overMean: number, dark: boolean): readonly [number, number, number] {
  const middle = dark ? [38, 43, 51] : [247, 247, 247]
  const octaves = overMean <= 0 ? -3 : Math.max(-3, Math.min(3, Math.log2(overMean)))
  const end = octaves < 0 ? (dark ? [86, 180, 233] : [0, 90, 150]) : dark ? [255, 170, 60] : [190, 75, 0]
  const share = Math.abs(octaves) / 3
  return [0, 1, 2].map((i) =>
    Math.round((middle[i] as number) + share * ((end[i] as number) - (middle[i] as number))),
  ) as unknown as readonly [number, number, number]
}
