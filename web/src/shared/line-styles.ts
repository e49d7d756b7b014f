/** Styles of the lines of runs, in the colours that pages and reports share. */
import { COLOURS, categorical, dashes, lineOrder, type Scheme } from '../../../src/core/charts/palette.ts'

export interface LineStyle {
  readonly color: string
  readonly dash: readonly number[]
}

/**
 * Assigns a style to each run, the oldest first: the colours in the order in which they differ most, and once all are
 * used, the same with dashes. So a newer run never changes the style of older ones.
 */
export function assignStyles(
  runs: readonly { readonly id: string; readonly created: number | null }[],
  scheme: Scheme,
): ReadonlyMap<string, LineStyle> {
  const oldest = [...runs].sort((a, b) => (a.created ?? 0) - (b.created ?? 0) || (a.id < b.id ? -1 : 1))
  return new Map(
    oldest.map(({ id }, age) => {
      const color = categorical[scheme][lineOrder[scheme][age % COLOURS] as number] as string
      return [id, { color, dash: dashes[Math.floor(age / COLOURS) % dashes.length] ?? [] }]
    }),
  )
}
