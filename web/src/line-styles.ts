/** Styles of the lines of runs, in the colours that pages and reports share. */
import { COLOURS, categorical, dashes, type Scheme } from '../../src/core/charts/palette.ts'

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
  scheme: Scheme,
): ReadonlyMap<string, LineStyle> {
  const oldest = [...runs].sort((a, b) => (a.created ?? 0) - (b.created ?? 0) || (a.id < b.id ? -1 : 1))
  const used = new Set<number>()
  return new Map(
    oldest.map(({ id }, age) => {
      const round = Math.floor(age / COLOURS)
      let color = hash(id) % COLOURS
      while (used.has(round * COLOURS + color)) color = (color + 1) % COLOURS
      used.add(round * COLOURS + color)
      return [id, { color: categorical[scheme][color] as string, dash: dashes[round % dashes.length] ?? [] }]
    }),
  )
}

/** FNV-1a hash of a text. */
function hash(text: string): number {
  let value = 2166136261
  for (const character of text) value = Math.imul(value ^ character.charCodeAt(0), 16777619) >>> 0
  return value
}
