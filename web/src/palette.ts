/** Colours that are distinguishable with any colour vision. */

/**
 * Colours of lines: Okabe and Ito 2008 without black and yellow, plus wine and olive of Paul Tol's schemes. Each is
 * readable on white and on near-black.
 */
const lines = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#56b4e9', '#e69f00', '#aa3377', '#999933']
const dashes: readonly (readonly number[])[] = [[], [8, 4], [2, 3], [10, 3, 2, 3]]

export interface LineStyle {
  readonly color: string
  readonly dash: readonly number[]
}

/**
 * Assigns a style to each run. A hash of its id selects the colour; if an older run has that colour, the next free one
 * is used, and once all colours are used they repeat with dashes. So a newer run never changes the style of older ones.
 */
export function assignStyles(
  runs: readonly { readonly id: string; readonly created: number | null }[],
): ReadonlyMap<string, LineStyle> {
  const oldest = [...runs].sort((a, b) => (a.created ?? 0) - (b.created ?? 0) || (a.id < b.id ? -1 : 1))
  const used = new Set<number>()
  return new Map(
    oldest.map(({ id }, age) => {
      const round = Math.floor(age / lines.length)
      let color = hash(id) % lines.length
      while (used.has(round * lines.length + color)) color = (color + 1) % lines.length
      used.add(round * lines.length + color)
      return [id, { color: lines[color] as string, dash: dashes[round % dashes.length] ?? [] }]
    }),
  )
}

/** FNV-1a hash of a text. */
function hash(text: string): number {
  let value = 2166136261
  for (const character of text) value = Math.imul(value ^ character.charCodeAt(0), 16777619) >>> 0
  return value
}

/**
 * Colour of a load on a scale from -1 (few tokens) over 0 (the mean) to 1 (many): blue, white (or near-black), orange.
 * Blue and orange differ with any colour vision, and both differ from the middle in lightness too.
 * @returns [red, green, blue], 0 to 255
 */
export function loadColor(share: number, dark: boolean): readonly [number, number, number] {
  const middle = dark ? [38, 43, 51] : [247, 247, 247]
  const end = share < 0 ? (dark ? [86, 180, 233] : [0, 90, 150]) : dark ? [255, 170, 60] : [190, 75, 0]
  return [0, 1, 2].map((i) =>
    Math.round((middle[i] as number) + Math.abs(share) * ((end[i] as number) - (middle[i] as number))),
  ) as unknown as readonly [number, number, number]
}
