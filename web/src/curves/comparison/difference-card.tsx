/** A card of differences: each arm minus the baseline, the mean over pairs of runs of the same seed in its interval. */
import { useComputed } from '@preact/signals'
import { useMemo } from 'preact/hooks'
import type { DifferencesAnswer } from '../../../../src/faces/watch/api.ts'
import { styleOf } from '../../runs/styles.ts'
import { CardFrame } from '../card-frame.tsx'
import type { Figure } from '../drawing/figure.ts'
import { type Range, rangeOfX, rangeOfY } from '../drawing/lines.ts'
import { rangeWithoutOutliers } from '../drawing/outliers.ts'
import { differencesToCsv } from '../series/csv.ts'
import { from, visibleX, withOutliers } from '../settings.ts'
import { sharedRange, useCovered } from '../shared-range.ts'
import { comparison, shortArm } from './comparison.ts'
import { contrastOf, differenceLines, pairCounts } from './difference-lines.ts'
import { DifferenceTable } from './difference-table.tsx'
import { DifferencesLoader } from './differences-loader.ts'

interface DifferenceCardProps {
  readonly metric: string
  readonly large: boolean
  /** Limit of the points of a line. */
  readonly points: number
}

export function DifferenceCard({ metric, large, points }: DifferenceCardProps) {
  const loader = useMemo(() => new DifferencesLoader(metric, points), [metric, points])
  const minus = useComputed(() => (comparison.value ? shortArm(comparison.value.baseline) : ''))
  const lines = useComputed(() => {
    const answer = loader.answer.value
    return answer ? differenceLines(answer, comparison.value?.contrasts ?? [], shortArm, styleOf) : []
  })
  const counts = useComputed(() => pairCounts(lines.value))
  const figure = useComputed<Figure | null>(() => {
    const whole = rangeOfX(lines.value)
    const answer = loader.answer.value
    const x = whole && answer && visibleX(sharedRange(answer.x, whole))
    if (!x) return null
    const difference = { from: minus.value, counts: counts.value }
    const found = { metric, axis: answer.x, lines: lines.value, x, log: false, difference }
    const outside = withOutliers.value ? null : rangeWithoutOutliers(lines.value, x, false)
    const y = outside ?? rangeOfY(lines.value, x, false)
    return y && { ...found, y: withZero(y), ...(outside && { outside }) }
  })
  useCovered(loader, lines)
  const csv = useComputed<(() => string) | null>(() => {
    const answer = loader.answer.value
    const contrasts = comparison.value?.contrasts ?? []
    const armOf = (difference: DifferencesAnswer['differences'][number]) =>
      contrastOf(contrasts, difference)?.arm.name ?? difference.run
    return answer && (() => differencesToCsv(answer, armOf, comparison.value?.baseline.name ?? ''))
  })
  return (
    <CardFrame
      metric={metric}
      large={large}
      minus={minus.value}
      loader={loader}
      figure={figure}
      csv={csv}
      whyEmpty={whyEmpty}
      tableOf={(shown) => <DifferenceTable {...shown} minus={minus.value} />}
    />
  )
}

/** Part of the range that stays free beyond zero. */
const MARGIN = 0.06

/** A range with the zero line. */
function withZero({ min, max }: Range): Range {
  if (min < 0 && max > 0) return { min, max }
  const margin = MARGIN * Math.max(Math.abs(min), Math.abs(max))
  return { min: Math.min(min, -margin), max: Math.max(max, margin) }
}

function whyEmpty({ differences }: DifferencesAnswer): string {
  if (from.value !== null && differences.some(({ verdict }) => verdict !== null))
    return 'No pair has values in this range.'
  return 'No pair of runs has values of both yet.'
}
