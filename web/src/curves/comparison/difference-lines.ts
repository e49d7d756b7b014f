/** The lines of a card of differences: for each arm its mean difference from the baseline, in a band, its interval. */

import { plural } from '../../../../src/core/text/numbers.ts'
import type { DifferencesAnswer, PairedDifference } from '../../../../src/faces/watch/api.ts'
import type { LineStyle } from '../../line-styles.ts'
import type { Line } from '../drawing/lines.ts'
import type { Arm, Contrast } from './arms.ts'

/** The contrast of a difference. An answer may be older than the contrasts. */
export const contrastOf = (contrasts: readonly Contrast[], { run }: PairedDifference): Contrast | undefined =>
  contrasts.find(({ pairs }) => pairs.some(([arm]) => arm === run))

export function differenceLines(
  { differences }: DifferencesAnswer,
  contrasts: readonly Contrast[],
  nameOf: (arm: Arm) => string,
  styleOf: (run: string) => LineStyle,
): readonly Line[] {
  return differences.flatMap((difference): Line[] => {
    const contrast = contrastOf(contrasts, difference)
    const [first, ...others] = contrast?.arm.runs ?? []
    const { x, y, raw, low, high, pairs } = difference
    if (!contrast || !first || x.length === 0) return []
    return [
      {
        run: first.id,
        otherRuns: others.map(({ id }) => id),
        name: nameOf(contrast.arm),
        style: styleOf(first.id),
        x,
        y,
        ...(raw && { raw }),
        band: { low, high, count: pairs },
        ofPairs: true,
      },
    ]
  })
}

/** How many pairs are averaged from this x on: by all lines, or by a line that has the value y there. */
export interface PairCount {
  readonly x: number
  readonly y?: number
  readonly text: string
}

/** With more lines, a number for each would hide them. */
const MAX_COUNTED_LINES = 6

/**
 * Where the number of pairs changes. Lines that always agree have numbers in common, `4 pairs`. Otherwise each line has
 * its own, or if there are many lines, they have a range in common, `2 to 4 pairs`.
 */
export function pairCounts(lines: readonly Line[]): readonly PairCount[] {
  const changesOf = ({ x, band }: Line) =>
    x.flatMap((_, i) => (i === 0 || band?.count[i] !== band?.count[i - 1] ? i : []))
  const places = lines.flatMap((line) => changesOf(line).map((i) => line.x[i] ?? 0))
  const shared: PairCount[] = []
  let doAgree = true
  for (const x of [...new Set(places)].sort((one, other) => one - other)) {
    const counts = lines.flatMap((line) => countAt(line, x) ?? [])
    const [least, most] = [Math.min(...counts), Math.max(...counts)]
    if (least !== most) doAgree = false
    const text = least === most ? plural(most, 'pair') : `${least} to ${plural(most, 'pair')}`
    if (text !== shared.at(-1)?.text) shared.push({ x, text })
  }
  if (doAgree || lines.length > MAX_COUNTED_LINES) return shared
  return lines.flatMap((line) =>
    changesOf(line).map((i) => ({
      x: line.x[i] ?? 0,
      y: line.y[i] ?? 0,
      text: plural(line.band?.count[i] ?? 0, 'pair'),
    })),
  )
}

/** The number of pairs of a line at x; null beyond its ends. */
function countAt({ x: places, band }: Line, x: number): number | null {
  if (x > (places.at(-1) ?? Number.NEGATIVE_INFINITY)) return null
  return band?.count[places.findLastIndex((place) => place <= x)] ?? null
}
