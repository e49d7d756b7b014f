/** The card of a metric: its values in the shown runs, or, with a baseline, the differences of arms from it. */
import { useComputed } from '@preact/signals'
import { useMemo } from 'preact/hooks'
import type { SeriesAnswer } from '../../../src/faces/watch/api.ts'
import { knownRuns } from '../runs/known-runs.ts'
import { styleOf } from '../runs/styles.ts'
import { CardFrame } from './card-frame.tsx'
import { isComparing } from './comparison/comparison.ts'
import { DifferenceCard } from './comparison/difference-card.tsx'
import type { Figure } from './drawing/figure.ts'
import { linesOf, rangeOfX, rangeOfY } from './drawing/lines.ts'
import { rangeWithoutOutliers } from './drawing/outliers.ts'
import { toCsv } from './series/csv.ts'
import { SeriesLoader } from './series/series-loader.ts'
import { from, logY, seedBands, visibleX, withOutliers } from './settings.ts'
import { sharedRange, useCovered } from './shared-range.ts'
import { ValueTable } from './value-table.tsx'

interface CardProps {
  readonly metric: string
  /** Whether it fills the window. */
  readonly large?: boolean
}

export const Card = ({ metric, large = false }: CardProps) =>
  isComparing.value ? (
    <DifferenceCard metric={metric} large={large} points={pointsIn(large)} />
  ) : (
    <ValueCard metric={metric} large={large} />
  )

/** Limit of the points of a line, more than a large card has pixels. */
const MAX_POINTS = 1600
const pointsIn = (large: boolean): number => (large ? MAX_POINTS : MAX_POINTS / 2)

function ValueCard({ metric, large }: Required<CardProps>) {
  const loader = useMemo(() => new SeriesLoader(metric, pointsIn(large)), [metric, large])
  const lines = useComputed(() => linesOf(loader.answer.value?.series ?? [], knownRuns.value, seedBands.value, styleOf))
  const figure = useComputed<Figure | null>(() => {
    const whole = rangeOfX(lines.value)
    const answer = loader.answer.value
    const x = whole && answer && visibleX(sharedRange(answer.x, whole))
    if (!x) return null
    const found = { metric, axis: answer.x, lines: lines.value, x, log: logY.value }
    if (withOutliers.value) {
      const y = rangeOfY(lines.value, x, logY.value)
      return y && { ...found, y }
    }
    const y = rangeWithoutOutliers(lines.value, x, logY.value)
    return y && { ...found, y, outside: y }
  })
  useCovered(loader, lines)
  const csv = useComputed<(() => string) | null>(() => {
    const answer = loader.answer.value
    return answer && (() => toCsv(answer, new Map([...knownRuns.value].map(([id, { name }]) => [id, name]))))
  })
  return (
    <CardFrame
      metric={metric}
      large={large}
      loader={loader}
      figure={figure}
      csv={csv}
      whyEmpty={whyEmpty}
      tableOf={(shown) => <ValueTable metric={shown.metric} axis={shown.axis} lines={shown.lines} />}
    />
  )
}

function whyEmpty({ series }: SeriesAnswer): string {
  if (series.every(({ x }) => x.length === 0))
    return from.value === null ? 'No values yet.' : 'No values in this range.'
  return logY.value ? 'No positive values; a logarithmic axis cannot show others.' : 'No finite values.'
}
